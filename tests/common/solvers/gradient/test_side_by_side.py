"""Chunks of users in threads of their own: the same bytes, however many there are."""

import numpy as np
import pytest
import torch

from common.models.sequential import SequentialModelSettings
from common.solvers.gradient import gradients
from common.solvers.gradient.examples import Batch, Draw, rivals
from common.solvers.gradient.gradients import CHUNK, Gradients

ITEMS, DIM, EVENTS = 300, 16, 20


def made(users):
    rng = np.random.default_rng(0)
    settings = SequentialModelSettings(embedding_dim=DIM, length=EVENTS, blocks=1)
    dense = settings.packing.pack(settings.loss.initial(rng))
    table = rng.normal(0, 0.1, (ITEMS, DIM))
    own = np.stack([rng.permutation(ITEMS)[: EVENTS + 1] for _ in range(users)])
    shared = np.sort(rng.choice(ITEMS, 30, replace=False))
    batch = Batch(own, rivals(own, Draw(shared, 0.0, rng.normal(size=ITEMS))))
    whole = Gradients(settings.loss, table, dense, settings.packing, train_items=True)
    return whole, np.arange(users), batch, shared


def written(batches):
    return [
        (b.users.tolist(), b.own_values.tobytes(), b.shared_values.tobytes(), b.dense_values)
        for b in batches
    ]


@pytest.mark.parametrize("users", [1, CHUNK, 3 * CHUNK + 1])
def test_cores_and_torch_threads_change_no_bit(users, monkeypatch):
    whole, numbers, batch, shared = made(users)
    found = []
    before = torch.get_num_threads()
    try:
        for cores, threads in [(1, 1), (2, 1), (3, 2), (64, 3)]:
            monkeypatch.setattr(gradients, "cores", lambda cores=cores: cores)
            torch.set_num_threads(threads)
            found.append(written(whole.of_each(numbers, batch, shared)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one[:3] == two[:3]
            assert np.array_equal(one[3], two[3])
    assert [user for part in found[0] for user in part[0]] == numbers.tolist()


def test_what_fails_in_a_thread_is_raised_and_threads_are_as_before():
    whole, numbers, batch, shared = made(2 * CHUNK)
    broken = Batch(batch.own, {**batch.example, "present": batch.example["present"][:, :3]})
    before = torch.get_num_threads()
    with pytest.raises((RuntimeError, ValueError)):
        list(whole.of_each(numbers, broken, shared))
    assert torch.get_num_threads() == before
