"""Networks on another device: every tensor goes there, and CUDA makes what the CPU makes.

Without a GPU the other device is `meta`, which has shapes and no values; with one, CUDA.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from common.arrays import Floats, Ints, State
from common.models.networks.base import Dropout
from common.models.networks.towers import Towers
from common.privacy.mechanisms import GaussianSum
from common.privacy.samplers import ExactSampler
from common.privacy.stream import NoiseSource
from common.solvers.base import NoisyTotal
from common.solvers.gradient import gradients, solver
from common.solvers.gradient.examples import Batch
from common.solvers.gradient.gradients import CHUNK
from common.solvers.registry import make_solver
from tests.common.solvers.gradient.test_gradients import DIM, KINDS, SHARED, USERS, Case
from tests.common.solvers.test_networks import Data, facts, groups, histories_of, plan_of, train

META, CPU, CUDA = (torch.device(name) for name in ("meta", "cpu", "cuda"))
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Elsewhere(TorchDispatchMode):
    """Refuses an operation on tensors of the CPU; what has no dimensions may be anywhere."""

    MOVES = ("aten._to_copy", "aten.lift_fresh", "aten.detach", "aten.alias")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not str(func).startswith(self.MOVES):
            for tensor in tree_leaves((args, kwargs, found)):
                if isinstance(tensor, torch.Tensor) and tensor.dim():
                    assert tensor.device == META, f"{func} of a tensor on {tensor.device}"
        return found


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All tensors on `meta`; the two ways back bring zeros of the right shape."""

    def back(values: torch.Tensor, count: int) -> Any:
        assert values.device == META
        return np.zeros((count, *values.shape[1:]), np.float32)

    def gradient(parameter: torch.Tensor) -> Floats:
        assert parameter.device == META
        assert parameter.grad is None or parameter.grad.device == META
        return np.zeros(parameter.shape)

    monkeypatch.setattr(gradients, "device", lambda: META)
    monkeypatch.setattr(gradients, "_numpy", back)
    monkeypatch.setattr(gradients, "_gradient", gradient)
    # a mode sees operations of its own thread alone
    monkeypatch.setattr(gradients, "_pool", lambda _: Here())
    with Elsewhere():
        yield


class Here:
    """In the place of a pool of threads."""

    def map(self, work: Any, starts: Any) -> Any:
        return map(work, starts)


PERSONAL: dict[str, Any] = {
    "length": 6, "blocks": 1, "personal_steps": 2, "share_head": False, "head": 4,
}  # fmt: skip


def case_of(kind: str, monkeypatch: pytest.MonkeyPatch, *, train_items: bool = True) -> Case:
    monkeypatch.setitem(KINDS, "personal", ("neural", PERSONAL))
    return Case(kind, train_items=train_items)


@pytest.mark.parametrize("train_items", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "personal"])
def test_every_tensor_is_on_the_device(
    kind: str, train_items: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    case = case_of(kind, monkeypatch, train_items=train_items)
    request.getfixturevalue("on_meta")
    assert case.of_each().shape == (USERS, 25 * train_items + case.packing.rows, DIM)
    dropout = Dropout(0.2, torch.Generator())
    of_items, of_dense = case.gradients.of_all(case.batch, SHARED, dropout)
    assert of_items.shape == (25 * train_items, DIM)
    assert of_dense.shape == (case.packing.rows, DIM)


@pytest.mark.parametrize("what", ["example", "features", "dense", "layer"])
def test_a_tensor_that_stays_on_the_cpu_is_found(
    what: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    case = case_of("personal" if what == "layer" else "neural", monkeypatch)
    if what == "example":
        sound = gradients._on
        monkeypatch.setattr(gradients, "_on", lambda _, example: sound(CPU, example))
    elif what == "features":
        public = gradients.Gradients._public
        monkeypatch.setattr(gradients.Gradients, "_public", lambda s, rows, _: public(s, rows, CPU))
    elif what == "dense":
        dense = gradients.Gradients._dense
        monkeypatch.setattr(gradients.Gradients, "_dense", lambda self, _: dense(self, CPU))
    else:
        head = Towers._public_layer.func(case.network)
        stays = (head["head_wide"], head["head_bias"])
        monkeypatch.setattr(Towers, "_head", lambda s, _, person: (*stays, person[..., s.dim :]))
    request.getfixturevalue("on_meta")
    with pytest.raises((AssertionError, RuntimeError), match="cpu"):
        case.of_each()


def test_algorithms_of_other_devices_give_one_result_and_nothing_is_left_of_it(
    on_meta: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def work(start: int) -> Any:
        seen.append(torch.are_deterministic_algorithms_enabled())
        if start:
            raise RuntimeError

    gradients._side_by_side(work, [0])
    with pytest.raises(RuntimeError):
        gradients._side_by_side(work, [1])
    assert not torch.are_deterministic_algorithms_enabled()
    monkeypatch.setattr(gradients, "device", lambda: CPU)
    gradients._side_by_side(work, [0])
    assert seen == [True, True, False]


def test_products_are_made_in_whole_float32() -> None:
    """Torch's own default, which nothing that is loaded here changes: no TF32."""
    assert torch.get_float32_matmul_precision() == "highest"


def close(found: Floats, expected: Floats) -> None:
    """To 1e-5 of the norm of each user's gradient, or of the total."""
    axes = tuple(range(1, expected.ndim)) if expected.ndim == 3 else None
    norm = np.sqrt((expected**2).sum(axis=axes, keepdims=True))
    assert (np.abs(found - expected) <= 1e-5 * norm).all()


@with_gpu
@pytest.mark.parametrize("train_items", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "personal"])
def test_cuda_makes_the_gradients_of_the_cpu(
    kind: str, train_items: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of(kind, monkeypatch, train_items=train_items)
    each, whole = case.of_each(), case.gradients.of_all(case.batch, SHARED, None)
    monkeypatch.setattr(gradients, "device", lambda: CPU)
    close(each, case.of_each())
    for found, expected in zip(whole, case.gradients.of_all(case.batch, SHARED, None), strict=True):
        close(found, expected)


@with_gpu
@pytest.mark.parametrize("kind", [*KINDS, "personal"])
def test_who_else_takes_part_moves_no_bit_on_cuda(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of(kind, monkeypatch)
    everybody = np.arange(USERS)
    whole = bits(case, everybody)
    assert bits(case, everybody) == whole
    for users in (everybody[1:], everybody[7:], everybody[CHUNK:], everybody[::3], everybody[-1:]):
        assert bits(case, users) == {user: whole[user] for user in users.tolist()}


def bits(case: Case, users: Ints) -> dict[int, tuple[bytes, ...]]:
    part = Batch(case.batch.own[users], {k: v[users] for k, v in case.batch.example.items()})
    found = {}
    for batch in case.gradients.of_each(users, part, SHARED):
        values = (batch.own_values, batch.shared_values, batch.dense_values)
        found |= {
            int(u): tuple(of[i].tobytes() for of in values) for i, u in enumerate(batch.users)
        }
    return found


class NoNoise(ExactSampler):
    """σ = 0."""

    def draw(self, shape: Any, noise: Any) -> Ints:
        return np.zeros(shape, dtype=np.int64)


STEPS: dict[str, Any] = {
    "embedding_dim": 8, "rounds": 1, "local_steps": 5, "start": "random", "train_items": True,
    "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.3, "clip_norm": 0.5,
}  # fmt: skip


ATTENTION: dict[str, Any] = {"network": "attention", "length": 6}


def trained(name: str, settings: dict[str, Any], *, private: bool) -> Floats:
    """Parameters after a few steps, as the solver takes them."""
    fitting: Any = make_solver(name, {**STEPS, **settings}, facts(private=private))
    log = histories_of(groups(np.random.default_rng(0)))
    if not private:
        return np.asarray(train(fitting, log)["parameters"])
    state: State = fitting.initial_state(0)
    state = fitting.advance(0, state, NoisyTotal(np.ones((log.n_items, 1)), 0.0, 120.0))
    mechanism = GaussianSum(plan_of(fitting).releases[1], NoiseSource.system())
    for _ in range(STEPS["local_steps"]):
        users = mechanism.sample(log.n_users)
        total = mechanism.sum(fitting.contribute(1, state, Data(log), users))
        state = fitting.advance(1, state, NoisyTotal(total, mechanism.noise_std, 120.0))
    return np.asarray(state["parameters"])


@with_gpu
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sequential", ATTENTION),
        ("sequential", {"network": "gru", "length": 6}),
        ("neural", {}),
    ],
)
def test_a_training_on_cuda_is_that_on_the_cpu(
    name: str, settings: dict[str, Any], private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout, whose draws are the device's own; private with noise of σ = 0."""
    monkeypatch.setattr("common.privacy.mechanisms.make_sampler", lambda *_: NoNoise())
    settings = settings if private else {**settings, "dropout": 0.0}
    found = trained(name, settings, private=private)
    for module in (gradients, solver):
        monkeypatch.setattr(module, "device", lambda: CPU)
    expected = trained(name, settings, private=private)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@with_gpu
def test_a_training_with_dropout_runs_on_cuda() -> None:
    assert np.isfinite(trained("sequential", ATTENTION, private=False)).all()
