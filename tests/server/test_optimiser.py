"""The server's own step: against figures by hand, a slow oracle and Flower's strategies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import FedAdam, FedAvgM
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy.plan import ReleaseShape
from common.solvers.aggregation import SERVER_STATE, Aggregation
from common.solvers.base import ArraySpec, Step
from server.optimiser import after_average
from tests.server.test_robust import reply

SHAPE = (3, 2)


def step(rule: Aggregation | None, *, max_abs: float = 1e6) -> Step:
    shape = ReleaseShape(step="s", rows=3, width=2, share=1.0)
    spec = ArraySpec(SHAPE, max_abs=max_abs)
    return Step(shape, {"a": spec, "b": spec}, "average", ("a",), rule)


def adam(**values: Any) -> Aggregation:
    return Aggregation.load({"aggregation": "fedadam", **values})


def momentum(**values: Any) -> Aggregation:
    return Aggregation.load({"aggregation": "fedavgm", **values})


def full(value: float) -> np.ndarray:
    return np.full(SHAPE, value)


@pytest.mark.parametrize("rule", [None, Aggregation(aggregation="median")])
def test_without_an_optimiser_the_state_is_what_was_combined(rule: Aggregation | None) -> None:
    after = after_average(step(rule), {"a": full(1), "b": full(2)}, {"a": full(7)})
    assert set(after) == {"a", "b"}
    np.testing.assert_array_equal(after["a"], full(7))
    np.testing.assert_array_equal(after["b"], full(2))


def test_fedadam_without_memory_is_the_figure_by_hand() -> None:
    """β1 = β2 = 0: 3 + 0.1 * 2 / (2 + 0.5) = 3.08, and down by as much."""
    rule = adam(server_learning_rate=0.1, server_beta_1=0, server_beta_2=0, server_tau=0.5)
    after = after_average(step(rule), {"a": full(3)}, {"a": full(5)})
    np.testing.assert_allclose(after["a"], 3.08, rtol=1e-12)
    after = after_average(step(rule), {"a": full(3)}, {"a": full(1)})
    np.testing.assert_allclose(after["a"], 2.92, rtol=1e-12)


def test_two_rounds_of_fedadam_are_the_figures_by_hand() -> None:
    """β1 = 0.5, β2 = 0.75, τ = 1, η = 1; Δ = 2, then -4.

    m = 1, then -1.5; v = 0.75 + 1 = 1.75, then 1.3125 + 4 = 5.3125.
    """
    rule = adam(server_learning_rate=1, server_beta_1=0.5, server_beta_2=0.75, server_tau=1)
    state = after_average(step(rule), {"a": full(0)}, {"a": full(2)})
    first = 1 / (np.sqrt(1.75) + 1)
    np.testing.assert_allclose(state["a"], first, rtol=1e-12)
    sent = state["a"].astype(np.float32).astype(np.float64)
    state = after_average(step(rule), state, {"a": sent - 4})
    np.testing.assert_allclose(state["a"], first - 1.5 / (np.sqrt(5.3125) + 1), rtol=1e-12)


def test_moments_are_the_servers_and_other_arrays_stay() -> None:
    before = {"a": full(0), "b": full(2)}
    state = after_average(step(adam()), before, {"a": full(1)})
    kept = {name for name in state if name.startswith(SERVER_STATE)}
    assert set(state) == {"a", "b", *kept}
    assert len(kept) == 2
    np.testing.assert_array_equal(state["b"], before["b"])
    assert set(before) == {"a", "b"}
    np.testing.assert_array_equal(before["a"], full(0))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=6),
    st.floats(0, 0.99), st.floats(0, 0.999), st.floats(1e-3, 1), st.floats(0.01, 2),
)  # fmt: skip
def test_many_rounds_are_what_the_paper_says(
    moves: list[float], beta_1: float, beta_2: float, tau: float, eta: float
) -> None:
    """Number by number; what a client is sent has 24 bits, and so has the average here."""
    values = {"server_beta_1": beta_1, "server_beta_2": beta_2}
    rule = adam(**values, server_tau=tau, server_learning_rate=eta)
    state: Any = {"a": full(0)}
    x, m, v = 0.0, 0.0, tau**2
    for move in moves:
        state = after_average(step(rule), state, {"a": state["a"].astype(np.float32) + full(move)})
        m = beta_1 * m + (1 - beta_1) * move
        v = beta_2 * v + (1 - beta_2) * move * move
        x += eta * m / (v**0.5 + tau)
        np.testing.assert_allclose(state["a"], x, rtol=1e-9, atol=1e-9)


def flowers(strategy: Any, averages: list[np.ndarray]) -> np.ndarray:
    """A strategy's arrays after as many rounds, of one client."""
    strategy.current_arrays = (
        ArrayRecord({"a": Array(full(0))}) if isinstance(strategy, FedAvgM) else {"a": full(0)}
    )
    for number, average in enumerate(averages, start=1):
        arrays, _ = strategy.aggregate_train(number, [reply({"a": average})])
        if not isinstance(strategy, FedAvgM):
            strategy.current_arrays = {"a": arrays["a"].numpy()}
    return np.asarray(arrays["a"].numpy())


def ours(rule: Aggregation, averages: list[np.ndarray]) -> np.ndarray:
    state: Any = {"a": full(0)}
    for average in averages:
        state = after_average(step(rule), state, {"a": average})
    return np.asarray(state["a"])


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_fedavgm_is_flowers(beta: float) -> None:
    rng = np.random.default_rng(0)
    averages = [rng.normal(size=SHAPE) for _ in range(4)]
    rule = momentum(server_learning_rate=0.5, server_beta_1=beta)
    theirs = flowers(FedAvgM(server_learning_rate=0.5, server_momentum=beta), averages)
    np.testing.assert_allclose(ours(rule, averages), theirs, rtol=1e-5, atol=1e-6)


def test_fedadam_without_memory_is_flowers() -> None:
    """With memory Flower corrects a bias, which the paper does not."""
    rng = np.random.default_rng(1)
    averages = [rng.normal(size=SHAPE) for _ in range(3)]
    rule = adam(server_learning_rate=0.3, server_beta_1=0, server_beta_2=0, server_tau=0.2)
    theirs = flowers(FedAdam(eta=0.3, beta_1=0, beta_2=0, tau=0.2), averages)
    np.testing.assert_allclose(ours(rule, averages), theirs, rtol=1e-5, atol=1e-6)


def test_fedavgm_without_momentum_at_rate_one_is_the_average() -> None:
    rule = momentum(server_beta_1=0)
    state = {"a": np.random.default_rng(2).normal(size=SHAPE).astype(np.float32).astype(float)}
    after = after_average(step(rule), state, {"a": full(0.25)})
    np.testing.assert_allclose(after["a"], full(0.25), rtol=1e-12)


def test_who_sends_back_what_was_sent_moves_nothing() -> None:
    """The state has 53 bits, what is sent 24: their difference is no pseudo-gradient."""
    state = {"a": np.full(SHAPE, 0.1)}
    back = {"a": state["a"].astype(np.float32).astype(np.float64)}
    after = after_average(step(adam(server_tau=1e-12)), state, back)
    np.testing.assert_array_equal(after["a"], state["a"])


def test_a_step_stays_within_what_clients_accept() -> None:
    rule = adam(server_learning_rate=1e6)
    for sign in (1, -1):
        after = after_average(step(rule, max_abs=9.0), {"a": full(0)}, {"a": full(sign * 5.0)})
        np.testing.assert_array_equal(after["a"], full(sign * 9.0))
