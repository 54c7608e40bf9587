"""Robust rules: against obvious oracles, Flower's own strategies, and clients that lie."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedMedian, FedTrimmedAvg, Krum, MultiKrum
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from common.solvers.aggregation import Aggregation, Rule
from server import robust
from server.robust import robust_average

SHAPES = {"a": (4, 3), "b": (7,)}
RULES: tuple[Rule, ...] = ("krum", "multi-krum", "median", "trimmed-mean")


def rule_of(name: Rule, byzantine: int = 1, averaged: int | None = None) -> Aggregation:
    more = {} if averaged is None else {"averaged": averaged}
    return Aggregation(aggregation=name, byzantine=byzantine, **more)  # type: ignore[arg-type]


def updates(count: int, seed: int = 0, *, spread: float = 1.0, at: float = 0.0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        {n: (at + spread * rng.normal(size=s)).astype(np.float32) for n, s in SHAPES.items()}
        for _ in range(count)
    ]


def flat(update: Any) -> np.ndarray:
    return np.concatenate([np.asarray(update[n], dtype=np.float64).ravel() for n in SHAPES])


def krum_order(vectors: Sequence[np.ndarray], byzantine: int) -> list[int]:
    """Clients by score, from the definition: pairs one by one."""
    scores = []
    for i, mine in enumerate(vectors):
        others = [np.sum((mine - x) ** 2) for j, x in enumerate(vectors) if j != i]
        scores.append(sum(sorted(others)[: len(vectors) - byzantine - 2]))
    return sorted(range(len(vectors)), key=scores.__getitem__)


def slow(rule: Aggregation, given: list[Any]) -> np.ndarray:
    """Entry by entry, client by client."""
    vectors, f = [flat(update) for update in given], rule.byzantine
    if "krum" in rule.aggregation:
        most = len(given) - f - 2
        count = 1 if rule.aggregation == "krum" else min(rule.averaged or most, most)
        vectors = [vectors[i] for i in krum_order(vectors, f)[:count]]
        return sum(vectors) / len(vectors)  # type: ignore[return-value]
    columns = [sorted(float(v[k]) for v in vectors) for k in range(len(vectors[0]))]
    if rule.aggregation == "median":
        f = (len(given) - 1) // 2
    return np.array([np.mean(column[f : len(column) - f]) for column in columns])


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=30, deadline=None)
@given(st.integers(5, 12), st.integers(1, 4), st.integers(0, 99), st.sampled_from([0.0, 1e3]))
def test_it_is_what_the_definition_says(
    name: Rule, clients: int, byzantine: int, seed: int, at: float
) -> None:
    rule = rule_of(name, byzantine)
    if clients < rule.least_clients:
        return
    given = updates(clients, seed, at=at)
    found = robust_average(rule, given)
    assert {n: a.shape for n, a in found.items()} == SHAPES
    assert {a.dtype for a in found.values()} == {np.dtype(np.float64)}
    np.testing.assert_allclose(flat(found), slow(rule, given), rtol=1e-12, atol=1e-12)


def reply(update: Any) -> Message:
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    arrays = ArrayRecord({n: Array(a.astype(np.float64)) for n, a in update.items()})
    metrics = MetricRecord({"num-examples": 1})
    asked = Message(RecordDict(), dst_node_id=1, message_type="train")
    asked.metadata.__dict__["_message_id"] = "m"
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=asked)


def flowers(name: Rule, byzantine: int, clients: int) -> Any:
    if name == "median":
        return FedMedian()
    if name == "trimmed-mean":
        return FedTrimmedAvg(beta=(byzantine + 0.5) / clients)
    if name == "krum":
        return Krum(num_malicious_nodes=byzantine)
    count = clients - byzantine - 2
    return MultiKrum(num_malicious_nodes=byzantine, num_nodes_to_select=count)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("clients", "byzantine"), [(5, 1), (7, 1), (8, 2), (11, 4), (12, 3)])
def test_it_is_what_flowers_own_strategy_makes(name: Rule, clients: int, byzantine: int) -> None:
    given = updates(clients, clients)
    strategy = flowers(name, byzantine, clients)
    arrays, _ = strategy.aggregate_train(1, [reply(update) for update in given])
    theirs = np.concatenate([array.numpy().ravel() for array in arrays.values()])
    ours = flat(robust_average(rule_of(name, byzantine), given))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_the_order_of_clients_does_not_matter(name: Rule) -> None:
    given = updates(5, 4)
    first = flat(robust_average(rule_of(name), given))
    for order in permutations(range(5)):
        again = flat(robust_average(rule_of(name), [given[i] for i in order]))
        np.testing.assert_allclose(again, first, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("clients", [3, 5, 7, 49, 99])
def test_as_many_are_cut_at_each_end_as_may_lie(clients: int) -> None:
    """Flower rounds the product of a fraction down: 49 clients less 1/49 of them are 49."""
    given = [{"a": np.full((1,), float(n), np.float32)} for n in range(clients)]
    for byzantine in range(1, (clients - 1) // 2 + 1):
        given[-1]["a"][0] = 1e6
        kept = np.arange(clients)[byzantine : clients - byzantine]
        found = robust_average(rule_of("trimmed-mean", byzantine), given)["a"]
        assert found[0] == pytest.approx(kept.mean(), rel=1e-12)


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(0, 99), st.sampled_from([1e6, -1e6, 0.0, 1e-3, np.nan]))
def test_no_lie_leaves_the_honest_clients_range(
    name: Rule, byzantine: int, seed: int, lie: float
) -> None:
    """Any `byzantine` of the least number of clients, who agree; nan stands for a wild one."""
    rule = rule_of(name, byzantine)
    honest = updates(rule.least_clients - byzantine, seed, spread=0.01, at=5.0)
    wild = np.random.default_rng(seed).uniform(-1e6, 1e6, size=(4, 3))
    liar = {
        "a": (wild if np.isnan(lie) else np.full((4, 3), lie)).astype(np.float32),
        "b": honest[0]["b"],
    }
    found = robust_average(rule, [liar] * byzantine + honest)
    for array_name in SHAPES:
        stack = np.stack([update[array_name] for update in honest]).astype(np.float64)
        assert np.all(found[array_name] >= stack.min(axis=0) - 1e-12)
        assert np.all(found[array_name] <= stack.max(axis=0) + 1e-12)


def test_krum_tells_small_updates_of_a_large_state_apart() -> None:
    """|x|² + |y|² - 2xy in float32 would have no digit left."""
    rng = np.random.default_rng(1)
    near = [(1e4 + 1e-2 * rng.normal(size=SHAPES["a"])).astype(np.float32) for _ in range(4)]
    odd = (1e4 + 1e-1 * rng.normal(size=SHAPES["a"])).astype(np.float32)
    for place in range(5):
        given = [{"a": a} for a in (*near[:place], odd, *near[place:])]
        vectors = [update["a"].astype(np.float64).ravel() for update in given]
        expected = vectors[krum_order(vectors, 1)[0]]
        np.testing.assert_array_equal(robust_average(rule_of("krum"), given)["a"].ravel(), expected)


@pytest.mark.parametrize(("bias", "taken"), [(0.2, True), (5.0, False)])
def test_krum_among_noisy_updates_takes_whoever_adds_no_noise(bias: float, taken: bool) -> None:
    """Two noisy updates are √2 σ√d apart, a noisy one and one without noise only σ√d.

    So a liar who stays within that of the others is the nearest to all; the page on solvers
    says so. The median of every entry moves by no more than the others' noise.
    """
    rng, width = np.random.default_rng(3), 400
    honest = [{"a": rng.normal(size=width).astype(np.float32)} for _ in range(6)]
    liar = {"a": np.full(width, bias, np.float32)}
    found = robust_average(rule_of("krum"), [*honest, liar])["a"]
    assert np.array_equal(found, liar["a"].astype(np.float64)) is taken
    median = robust_average(rule_of("median"), [*honest, liar])["a"]
    assert abs(float(median.mean())) < 0.35


@pytest.mark.parametrize("name", RULES)
def test_large_arrays_are_combined_in_blocks(name: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    given = updates(7, 9)
    whole = robust_average(rule_of(name), given)
    monkeypatch.setattr(robust, "_BLOCK", 5)
    parts = robust_average(rule_of(name), given)
    for array_name in SHAPES:
        np.testing.assert_array_equal(whole[array_name], parts[array_name])
