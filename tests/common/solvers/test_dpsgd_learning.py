"""What `dpsgd` learns, without noise and with it."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from common.arrays import Histories, Ints
from common.privacy.stream import NoiseSource
from common.solvers.base import PublicFacts
from common.solvers.dpsgd import DpSgd
from common.solvers.dpsgd_settings import DpSgdSettings
from tests.common.solvers.test_dpsgd import ITEMS, Data, from_pairs, solver_for, train, two_tastes

SPLIT = Path(__file__).parents[3].parent / "shared" / "data" / "ml-1m-ncf.zip"


def test_tastes_are_learnt_without_and_with_noise() -> None:
    rng = np.random.default_rng(8)
    data = Data(two_tastes(rng, 600))
    for epsilon in (None, 8.0):
        solver = solver_for(600, epsilon)
        model = solver.finish(train(solver, data, NoiseSource.seeded(1)))
        scores = model.scores(model.fold_in(data.histories))[1:]
        likes = (np.arange(1, 600)[:, None] % 2) == (np.arange(ITEMS) < ITEMS // 2)
        assert scores[likes].mean() > scores[~likes].mean() + 0.1


def published_split() -> tuple[Histories, Ints]:
    """Training events of the NCF split, and `[users, 100]`: held-out item, negatives."""
    with ZipFile(SPLIT) as archive:
        names = {name.rsplit("ml-1m.", 1)[-1]: name for name in archive.namelist()}
        with archive.open(names["train.rating"]) as lines:
            train_pairs = np.loadtxt(lines, dtype=np.int64, usecols=(0, 1))
        with archive.open(names["test.negative"]) as lines:
            rows = [line.decode().split("\t") for line in lines]
    held = [int(row[0].strip("()").split(",")[1]) for row in rows]
    negatives = np.array([row[1:] for row in rows], dtype=np.int64)
    users, items = train_pairs.T
    return from_pairs(users, items, len(rows), 3706), np.column_stack([held, negatives])


@pytest.mark.skipif(not SPLIT.exists(), reason="the NCF split of MovieLens-1M is not here")
def test_movielens_at_epsilon_eight() -> None:
    histories, candidates = published_split()
    facts = PublicFacts(3706, 6040, 1, 8.0, 6040**-1.1, 6040.0, private=True)
    solver = DpSgd(DpSgdSettings(rounds=1, local_steps=4), facts)  # half the steps: quicker
    model = solver.finish(train(solver, Data(histories), NoiseSource.seeded(0)))
    vectors = model.fold_in(histories)
    scores = np.einsum("ud,ukd->uk", vectors, model.item_embeddings[candidates])
    hits = (scores[:, 1:] >= scores[:, :1]).sum(axis=1) < 10
    assert hits.mean() >= 0.54
