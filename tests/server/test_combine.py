"""Sums of releases: order, weights, and what noise and signal there are in the total."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy.plan import Mode, Release
from common.protocol import Reply
from common.solvers.aggregation import Aggregation
from common.solvers.base import SUM, ArraySpec, Step
from server.combine import Combiner
from server.roster import Member

SHAPE = (5, 2)


def release(noise: float = 1.5, clip: float = 2.0, rate: float = 1.0) -> Release:
    return Release(
        step="s", rows=5, width=2, share=1.0, clip_norm=clip, sampling_rate=rate,
        noise_multiplier=noise,
    )  # fmt: skip


def members(*populations: int) -> list[Member]:
    return [Member(f"shop-{n}", 10 + n, size) for n, size in enumerate(populations)]


def combiner(
    everybody: list[Member], mode: Mode = "local", *, aggregate: str = "sum", **of: float
) -> Combiner:
    specs = {"table": ArraySpec(SHAPE)} if aggregate == "average" else {}
    step = Step(release(**of), specs, aggregate)  # type: ignore[arg-type]
    return Combiner(step, release(**of), everybody, mode)


def reply(values: np.ndarray, name: str = SUM) -> Reply:
    return Reply("ok", {name: values.astype(np.float32)}, "a" * 64)


def random_arrays(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=SHAPE) * 10.0**n for n in range(count)]


@pytest.mark.parametrize("mode", ["local", "none"])
def test_the_total_does_not_depend_on_who_answers_first(mode: Mode) -> None:
    everybody, arrays = members(100, 7, 50, 3), random_arrays(4)
    seen = set()
    for order in permutations(range(4)):
        combined = combiner(everybody, mode)
        for n in order:
            combined.offer(everybody[n], reply(arrays[n]))
        total, _ = combined.total()
        assert [m.name for m in combined.answered] == [m.name for m in everybody]
        seen.add((total.values.tobytes(), total.noise_std, total.population))
    assert len(seen) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=6),
    st.sets(st.integers(0, 5)),
    st.randoms(use_true_random=False),
)
def test_who_does_not_answer_does_not_count(
    populations: list[int], silent: set[int], random: object
) -> None:
    everybody = members(*populations)
    answering = [n for n in range(len(everybody)) if n not in silent] or [0]
    arrays = random_arrays(len(everybody))
    order = list(answering)
    random.shuffle(order)  # type: ignore[attr-defined]
    with_gaps, alone = combiner(everybody), combiner([everybody[n] for n in answering])
    for n in order:
        with_gaps.offer(everybody[n], reply(arrays[n]))
    for n in answering:
        alone.offer(everybody[n], reply(arrays[n]))
    (left, _), (right, _) = with_gaps.total(), alone.total()
    assert left.values.tobytes() == right.values.tobytes()
    assert (left.noise_std, left.population) == (right.noise_std, right.population)


@pytest.mark.parametrize("rule", ["krum", "multi-krum", "median", "trimmed-mean"])
@settings(max_examples=15, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 9))
def test_robust_rules_do_not_depend_on_who_answers_first_or_declares_most(
    rule: str, order: list[int], seed: int
) -> None:
    """One of seven never answers."""
    arrays = random_arrays(6, seed)
    found = []
    for turn, populations in ((order, (10**6, *[1] * 6)), (range(6), [5] * 7)):
        everybody = members(*populations)
        combined = combiner(everybody, aggregate="average")
        combined.step = replace(combined.step, combine=Aggregation.load({"aggregation": rule}))
        for n in turn:
            combined.offer(everybody[n], reply(arrays[n], "table"))
        total, named = combined.total()
        assert total is None
        assert [m.name for m in combined.answered] == [m.name for m in everybody[:6]]
        found.append(named["table"].tobytes())
    assert found[0] == found[1]


def test_noised_sums_are_weighted_by_declared_population_over_its_mean() -> None:
    everybody, arrays = members(300, 100), random_arrays(2)
    combined = combiner(everybody)
    for member, array in zip(everybody, arrays, strict=True):
        combined.offer(member, reply(array))
    total, named = combined.total()
    weights = np.array([1.5, 0.5])
    expected = sum(w * a.astype(np.float32) for w, a in zip(weights, arrays, strict=True))
    np.testing.assert_allclose(total.values, expected, rtol=1e-6)
    assert named[SUM] is total.values
    assert total.population == pytest.approx(1.5 * 300 + 0.5 * 100)
    assert total.noise_std == pytest.approx(1.5 * 2.0 * np.hypot(1.5, 0.5))


def test_equal_clients_are_a_plain_sum_with_root_k_noise() -> None:
    everybody, arrays = members(50, 50, 50, 50), random_arrays(4)
    combined = combiner(everybody)
    for member, array in zip(everybody, arrays, strict=True):
        combined.offer(member, reply(array))
    total, _ = combined.total()
    np.testing.assert_allclose(total.values, sum(a.astype(np.float32) for a in arrays), rtol=1e-6)
    assert total.noise_std == pytest.approx(2 * 1.5 * 2.0)
    assert total.population == 200


def test_without_privacy_the_total_is_the_plain_sum_whatever_the_sizes() -> None:
    everybody, arrays = members(300, 1), random_arrays(2)
    combined = combiner(everybody, "none", noise=0.0)
    for member, array in zip(everybody, arrays, strict=True):
        combined.offer(member, reply(array))
    total, _ = combined.total()
    np.testing.assert_allclose(total.values, sum(a.astype(np.float32) for a in arrays), rtol=1e-6)
    assert (total.noise_std, total.population) == (0.0, 301)


@pytest.mark.parametrize("mode", ["local", "none"])
def test_averages_go_by_share_of_the_population(mode: Mode) -> None:
    everybody, arrays = members(300, 100), random_arrays(2)
    combined = combiner(everybody, mode, aggregate="average")
    for member, array in zip(everybody, arrays, strict=True):
        combined.offer(member, reply(array, "table"))
    total, named = combined.total()
    assert total is None  # averages of states are no sum: their noise is not known
    first, second = (array.astype(np.float32).astype(np.float64) for array in arrays)
    expected = 0.75 * first + 0.25 * second
    np.testing.assert_allclose(named["table"], expected, rtol=1e-12)


@pytest.mark.parametrize(("factor", "accepted"), [(1.0, True), (2 / 3, False), (1.5, False)])
def test_the_stated_noise_is_the_noise_in_the_total(factor: float, accepted: bool) -> None:
    """Gaussian noise of known σ at three unequal clients; 2 million entries, 5σ of the test."""
    rng = np.random.default_rng(5)
    everybody = members(300, 100, 20)
    shape = (200_000, 10)
    step = Step(Release(step="s", rows=shape[0], width=10, share=1, noise_multiplier=0.7), {})
    combined = Combiner(step, step.release, everybody, "local")  # type: ignore[arg-type]
    for member in everybody:
        combined.offer(member, reply(rng.normal(0, 0.7 * factor, shape)))
    total, _ = combined.total()
    ratio = float(np.mean(total.values**2)) / total.noise_std**2
    assert bool(abs(ratio - 1) < 5 * np.sqrt(2 / total.values.size)) is accepted


def test_early_releases_wait_and_are_let_go_of_in_turn() -> None:
    everybody, arrays = members(1, 1, 1), random_arrays(3)
    combined = combiner(everybody)
    combined.offer(everybody[2], reply(arrays[2]))
    assert len(combined._early) == 1
    combined.offer(everybody[0], reply(arrays[0]))
    combined.offer(everybody[1], reply(arrays[1]))
    assert not combined._early
    assert combined.bytes_up == 3 * 5 * 2 * 4
    assert set(combined.heads) == {m.name for m in everybody}
