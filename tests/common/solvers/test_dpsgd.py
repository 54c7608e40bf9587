"""Matrix factorisation by DP-SGD: what users contribute, what steps see, what is planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Floats, Histories, Ints, State
from common.errors import ConfigError, ReleaseError
from common.privacy.contributions import Contributions
from common.privacy.events import event_of
from common.privacy.mechanisms import GaussianSum, mechanism_for
from common.privacy.plan import PrivacyPlan, Release, RowSelection
from common.privacy.planner import make_plan
from common.privacy.stream import NoiseSource
from common.solvers.base import NoisyTotal, PublicFacts
from common.solvers.descent import MOMENTS
from common.solvers.dpsgd import TABLE, DpSgd
from common.solvers.dpsgd_settings import DpSgdSettings
from common.solvers.local_steps import LOCAL_STEP, SEED
from common.solvers.popularity import POPULARITY

ITEMS = 40


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: Ints | None = None


def from_pairs(users: Ints, items: Ints, n_users: int, n_items: int) -> Histories:
    order = np.lexsort((items, users))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))])
    return Histories(indptr.astype(np.int64), items[order], np.ones(len(items)), n_items)


def two_tastes(rng: np.random.Generator, n_users: int) -> Histories:
    """Half of the users like the first half of the items; user 0 has no events."""
    likes = np.where(
        (np.arange(n_users)[:, None] % 2) == (np.arange(ITEMS) < ITEMS // 2), 0.4, 0.02
    )
    dense = rng.random((n_users, ITEMS)) < likes
    dense[0] = False
    users, items = np.nonzero(dense)
    return from_pairs(users, items, n_users, ITEMS)


def solver_for(population: int, epsilon: float | None = 8.0, **values: Any) -> DpSgd:
    facts = PublicFacts(
        n_items=ITEMS,
        population=population,
        clients=1,
        epsilon=epsilon,
        delta=1e-6,
        signal=float(population),
        private=epsilon is not None,
    )
    return DpSgd(DpSgdSettings(**{"embedding_dim": 5, **values}), facts)


def plan_for(solver: DpSgd) -> PrivacyPlan:
    return make_plan(
        [step.release for step in solver.steps],
        epsilon=solver.facts.epsilon,
        delta=solver.facts.delta if solver.facts.private else 0.0,
        unit="user",
        mode="local" if solver.facts.private else "none",
        population=solver.facts.population,
    )


def train(solver: DpSgd, data: Data, noise: NoiseSource, seed: int = 1) -> State:
    """One client, as `client.training` runs it; the server passes on what steps declare."""
    plan, state = plan_for(solver), solver.initial_state(seed)
    for number, step in enumerate(solver.steps):
        mechanism = mechanism_for(plan, number, noise)
        inner: State = {name: state[name] for name in step.inputs}
        for _ in range(step.release.steps):
            users = mechanism.sample(data.histories.n_users)
            values = mechanism.sum(solver.contribute(number, inner, data, users))
            total = NoisyTotal(
                values,
                mechanism.noise_std,
                float(solver.facts.population),
                step.release.sampling_rate,
            )
            inner = solver.advance(number, inner, total)
        kept = step.outputs if step.aggregate == "average" else inner
        state = {**state, **{name: inner[name] for name in kept}}
    return state


def after_popularity(solver: DpSgd, histories: Histories, seed: int = 1) -> State:
    counts = np.bincount(histories.items, minlength=ITEMS)[:, None].astype(np.float64)
    total = NoisyTotal(counts, 0.0, float(solver.facts.population))
    return solver.advance(0, solver.initial_state(seed), total)


def written_out(batches: list[Contributions], n_users: int, width: int) -> Floats:
    dense = np.zeros((n_users, ITEMS, width))
    for batch in batches:
        for block in batch.expand(1_000):
            owner = np.repeat(block.users, np.diff(block.indptr))
            dense[owner, block.rows] = block.values
    return dense


def slow_gradients(solver: DpSgd, state: State, histories: Histories, negatives: Ints) -> Floats:
    """User by user from the definition, with a ridge solution by normal equations."""
    chosen = solver.settings
    popularity = state[POPULARITY]
    scale = (popularity / popularity.mean() + 0.2) ** -chosen.popularity_exponent
    column = popularity / np.sqrt((popularity**2).mean())
    embeddings = np.column_stack([column, state[TABLE] * scale[:, None]])
    result = np.zeros((histories.n_users, ITEMS, chosen.embedding_dim - 1))
    for user in range(histories.n_users):
        own = histories.items[histories.indptr[user] : histories.indptr[user + 1]]
        if not len(own):
            continue
        system = chosen.unobserved_weight * embeddings.T @ embeddings
        system += chosen.regularisation * np.eye(chosen.embedding_dim)
        system += embeddings[own].T @ embeddings[own]
        vector = np.linalg.solve(system, embeddings[own].sum(axis=0))
        for item in range(ITEMS):
            weight = chosen.negative_weight if item in negatives else 0.0
            weight = 1.0 if item in own else weight
            error = embeddings[item] @ vector - (item in own)
            result[user, item] = weight * error * scale[item] * vector[1:]
        norm = np.sqrt((result[user] ** 2).sum())
        result[user] *= min(1.0, chosen.clip_norm / norm)
    return result


@pytest.mark.parametrize("negatives", [0, 9, ITEMS])
@pytest.mark.parametrize("clip_norm", [0.05, 100.0])
def test_contributions_equal_the_slow_oracle(negatives: int, clip_norm: float) -> None:
    histories = two_tastes(np.random.default_rng(0), 30)
    solver = solver_for(30, negatives=negatives, clip_norm=clip_norm)
    state = after_popularity(solver, histories)
    batches = list(solver.contribute(1, state, Data(histories), np.arange(30)))
    expected = slow_gradients(solver, state, histories, solver._negatives(1, state))
    np.testing.assert_allclose(written_out(batches, 30, 4), expected, atol=1e-10 * clip_norm)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 9, ITEMS]), st.floats(1e-3, 10.0))
def test_a_user_moves_the_sum_by_the_clip_norm_at_most(
    seed: int, negatives: int, clip_norm: float
) -> None:
    rng = np.random.default_rng(seed)
    histories = two_tastes(rng, 12)
    solver = solver_for(12, negatives=negatives, clip_norm=clip_norm)
    state = dict(after_popularity(solver, histories))
    state[TABLE] = rng.normal(size=state[TABLE].shape) * 10.0 ** rng.uniform(-3, 3)
    gone = int(rng.integers(12))
    rest = np.delete(np.arange(12), gone)
    full = written_out(list(solver.contribute(1, state, Data(histories), np.arange(12))), 12, 4)
    neighbour = Data(histories.take(rest))
    fewer = written_out(list(solver.contribute(1, state, neighbour, np.arange(11))), 11, 4)
    np.testing.assert_allclose(full[rest], fewer, atol=1e-9 * clip_norm)
    assert np.linalg.norm(full.sum(axis=0) - fewer.sum(axis=0)) <= clip_norm * (1 + 1e-9)


def test_only_chosen_users_with_events_contribute() -> None:
    histories = two_tastes(np.random.default_rng(1), 20)
    solver = solver_for(20)
    state = after_popularity(solver, histories)
    batches = list(solver.contribute(1, state, Data(histories), np.array([0, 3, 7])))
    assert np.concatenate([batch.users for batch in batches]).tolist() == [3, 7]


def test_an_empty_poisson_batch_gets_its_noise_and_costs_a_sum() -> None:
    histories = two_tastes(np.random.default_rng(2), 20)
    solver = solver_for(20, sampling_rate=1e-9, local_steps=1, rounds=1)
    release = Release(**solver.steps[1].release.model_dump(), noise_multiplier=2.0)
    mechanism = GaussianSum(release, NoiseSource.seeded(0))
    users = mechanism.sample(20)
    assert len(users) == 0
    state = after_popularity(solver, histories)
    values = mechanism.sum(solver.contribute(1, state, Data(histories), users))
    assert np.std(values) == pytest.approx(mechanism.noise_std, rel=0.3)
    advanced = solver.advance(1, state, NoisyTotal(values, mechanism.noise_std, 20.0, 1e-9))
    assert not np.array_equal(advanced[TABLE], state[TABLE])
    mechanism.sample(20)
    with pytest.raises(ReleaseError):
        mechanism.sum([])


def test_releases_say_what_the_settings_say() -> None:
    solver = solver_for(
        100, rounds=3, local_steps=5, sampling_rate=0.25, clip_norm=0.7, sampler="fast"
    )
    releases = [step.release for step in solver.steps]
    assert [release.steps for release in releases] == [1, 5, 5, 5]
    assert [release.sampling_rate for release in releases] == [1.0, 0.25, 0.25, 0.25]
    assert [release.clip_norm for release in releases] == [1.0, 0.7, 0.7, 0.7]
    assert [release.sampler for release in releases] == ["exact", "fast", "fast", "fast"]
    assert [release.width for release in releases] == [1, 4, 4, 4]
    assert sum(release.share for release in releases) == pytest.approx(1.0)
    assert [step.aggregate for step in solver.steps] == ["sum", *["average"] * 3]


def test_rows_are_chosen_where_the_settings_say_so() -> None:
    """In the rounds, not among the counts of popularity; the plan prices it, at a client alone."""
    chosen = {"threshold": 6.0, "share": 0.2}
    solver = solver_for(600, rounds=2, row_selection=chosen)
    expected = RowSelection(threshold=6.0, share=0.2)
    assert [s.release.selection for s in solver.steps] == [None, expected, expected]
    kinds = [event_of(release).kind for release in plan_for(solver).releases]
    assert kinds == ["gaussian-sum", *["selected-gaussian-sum"] * 2]


def test_rows_that_are_not_chosen_stay_as_they_were() -> None:
    """The first half of the items are had by many users, the rest by nobody."""
    rng = np.random.default_rng(3)
    dense = rng.random((600, ITEMS)) < np.where(np.arange(ITEMS) < ITEMS // 2, 0.4, 0.0)
    users, items = np.nonzero(dense)
    data = Data(from_pairs(users, items, 600, ITEMS))
    values = {"rounds": 1, "local_steps": 3, "negatives": 0}
    solver = solver_for(600, row_selection={"threshold": 40.0, "clip_norm": 1.0}, **values)
    noise = max(release.count_noise_std for release in plan_for(solver).releases)
    assert 6 * noise < 40.0  # nobody's rows are kept by chance
    before, after = solver.initial_state(1)[TABLE], train(solver, data, NoiseSource.system())[TABLE]
    moved = np.any(after != before, axis=1)
    assert np.array_equal(moved, np.arange(ITEMS) < ITEMS // 2)
    everywhere = train(solver_for(600, **values), data, NoiseSource.system())[TABLE]
    assert np.all(everywhere != before)


def test_noise_comes_from_the_mechanism_alone() -> None:
    data = Data(two_tastes(np.random.default_rng(4), 40))
    solver = solver_for(40, sampling_rate=0.5)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    first = train(solver, data, NoiseSource.seeded(5))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    same = train(solver, data, NoiseSource.seeded(5))
    other = train(solver, data, NoiseSource.seeded(6))
    np.testing.assert_array_equal(first[TABLE], same[TABLE])
    assert not np.allclose(first[TABLE], other[TABLE])


def test_steps_divide_by_declared_population() -> None:
    solver = solver_for(40, learning_rate=2.0, clip_norm=0.5)
    state = solver.initial_state(0)
    values = np.random.default_rng(0).normal(size=(ITEMS, 4))
    advanced = solver.advance(1, state, NoisyTotal(values, 1.0, 500.0, 0.2))
    rate = 2.0 * np.sqrt(ITEMS * 4) / 0.5
    np.testing.assert_allclose(state[TABLE] - advanced[TABLE], rate * values / (0.2 * 500.0))


@pytest.mark.parametrize("values", [{"momentum": 0.9}, {"optimizer": "adam", "momentum": 0.9}])
def test_moments_live_between_local_steps_and_end_with_the_round(
    values: Mapping[str, Any],
) -> None:
    solver = solver_for(40, **values)
    state = solver.initial_state(0)
    total = NoisyTotal(np.ones((ITEMS, 4)), 1.0, 40.0)
    once = solver.advance(1, state, total)
    total = NoisyTotal(np.random.default_rng(0).normal(size=(ITEMS, 4)), 1.0, 40.0)
    twice = solver.advance(1, once, total)
    assert any(name.startswith(MOMENTS) for name in twice)
    assert not any(name.startswith(MOMENTS) for name in solver.steps[1].outputs)
    forgetful = solver.advance(1, {name: once[name] for name in solver.steps[1].inputs}, total)
    assert not np.allclose(twice[TABLE], forgetful[TABLE])


def test_negatives_are_public_and_cover_the_catalogue() -> None:
    solver = solver_for(40, negatives=10, rounds=8, local_steps=5)
    state = dict(solver.initial_state(3))
    seen: set[int] = set()
    draws = []
    for time in range(40):
        state[LOCAL_STEP] = np.array([time % 5], np.float32)
        drawn = solver._negatives(1 + time // 5, state)
        assert len(set(drawn.tolist())) == 10
        draws.append(tuple(drawn))
        seen.update(drawn.tolist())
    assert len(seen) == ITEMS  # held-out items too
    assert len(set(draws)) == 40


def test_every_local_step_has_negatives_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data(two_tastes(np.random.default_rng(7), 30))
    solver = solver_for(30, rounds=2, local_steps=3, negatives=10)
    seen, draw = [], solver._negatives
    monkeypatch.setattr(
        solver, "_negatives", lambda *now: seen.append(drawn := draw(*now)) or drawn
    )
    train(solver, data, NoiseSource.seeded(0), seed=9)
    drawn = [np.random.default_rng([9, t]).choice(ITEMS, 10, replace=False) for t in range(6)]
    expected = [np.sort(one) for one in drawn]
    np.testing.assert_array_equal(seen, expected)


def test_only_the_table_comes_back_from_a_client() -> None:
    solver = solver_for(30, rounds=2)
    for step in solver.steps[1:]:
        assert set(step.inputs) == {TABLE, POPULARITY, SEED}
        assert dict(step.outputs) == {TABLE: step.inputs[TABLE]}


def test_model_has_the_declared_arrays() -> None:
    solver = solver_for(40)
    model = solver.finish(solver.initial_state(0))
    arrays = model.arrays()
    assert {name: array.shape for name, array in arrays.items()} == {
        name: spec.shape for name, spec in solver.model_specs.items()
    }
    assert model.settings == solver.fold_in
    inputs = solver.steps[1].inputs
    assert {name: solver.initial_state(0)[name].shape for name in inputs} == {
        name: spec.shape for name, spec in inputs.items()
    }


@pytest.mark.parametrize(
    "values",
    [
        {"clip_norm": 0.0}, {"sampling_rate": 1.1}, {"optimizer": "lbfgs"}, {"learningrate": 1.0},
        {"row_selection": {}}, {"row_selection": {"threshold": -1.0}},
        {"row_selection": {"threshold": 1.0, "dense_rows": 1}},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(values: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError):
        DpSgdSettings.load(values)


def test_settings_round_trip() -> None:
    chosen = DpSgdSettings(rounds=3, optimizer="adam", row_selection=RowSelection(threshold=2.0))
    assert DpSgdSettings.load(chosen.model_dump()) == chosen
