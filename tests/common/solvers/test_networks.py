"""The solvers `sequential` and `neural`: they learn, and refuse what promises too little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from common.arrays import Histories, Ints, State
from common.errors import Code, ConfigError, PlanError
from common.evaluation.ratings import evaluate_ratings
from common.privacy.plan import PrivacyPlan, RowSelection
from common.privacy.planner import make_plan
from common.privacy.selected import SelectedSum
from common.privacy.stream import NoiseSource
from common.solvers.base import NoisyTotal, PublicFacts, Solver
from common.solvers.gradient.settings import MOST_STEPS
from common.solvers.registry import make_solver

ITEMS, USERS = 24, 120
FAST: dict[str, Any] = {
    "embedding_dim": 8, "rounds": 1, "local_steps": 60, "sampling_rate": 1.0,
    "learning_rate": 0.03, "dropout": 0.0,
}  # fmt: skip
CHOOSING: dict[str, Any] = {
    "row_selection": {"threshold": 6.0, "share": 0.2}, "train_items": True,
}  # fmt: skip


NAMED: dict[str, dict[str, Any]] = {"neural": {}, "sequential": {"network": "attention"}}


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: Ints | None = None


def facts(*, private: bool = False, central: bool = False, clients: int = 1) -> PublicFacts:
    return PublicFacts(
        n_items=ITEMS, population=USERS, clients=clients, epsilon=8.0 if private else None,
        delta=1e-4 if private else 0.0, signal=float(USERS), private=private, central=central,
    )  # fmt: skip


def histories_of(rows: list[list[int]], weights: list[list[float]] | None = None) -> Histories:
    """Each row in time order."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    sorts = [np.argsort(row) for row in rows]
    items = np.concatenate([np.array(r)[s] for r, s in zip(rows, sorts, strict=True)])
    given = [np.ones(len(row)) for row in rows] if weights is None else weights
    kept = np.concatenate([np.array(w)[s] for w, s in zip(given, sorts, strict=True)])
    return Histories(indptr, items.astype(np.int64), kept, ITEMS, np.concatenate(sorts))


def plan_of(solver: Solver) -> PrivacyPlan:
    shapes = [step.release for step in solver.steps]
    return make_plan(shapes, epsilon=8.0, delta=1e-4, unit="user", mode="local", population=USERS)


def train(solver: Any, histories: Histories, seed: int = 0) -> State:
    """All steps without privacy at one client."""
    state, users = dict(solver.initial_state(seed)), np.arange(histories.n_users)
    for index, step in enumerate(solver.steps):
        for _ in range(step.release.steps):
            total = np.zeros((step.release.rows, step.release.width))
            for batch in solver.contribute(index, state, Data(histories), users):
                batch.add_to(total)
            state = solver.advance(index, state, NoisyTotal(total, 0.0, float(USERS)))
    return state


def circles(rng: np.random.Generator) -> list[list[int]]:
    """Users who walk forward along the items, from anywhere."""
    starts = rng.integers(0, ITEMS, USERS)
    return [[int(start + step) % ITEMS for step in range(6)] for start in starts]


@pytest.mark.parametrize("network", ["attention", "gru", "recency"])
def test_a_sequential_model_learns_what_comes_next(network: str) -> None:
    settings = {**FAST, "network": network, "length": 6, "blocks": 1}
    if network == "recency":
        del settings["embedding_dim"]  # its start says it
    solver = make_solver("sequential", settings, facts())
    log = histories_of(circles(np.random.default_rng(0)))
    model = solver.finish(train(solver, log))
    told = histories_of([[start, (start + 1) % ITEMS] for start in range(ITEMS)])
    scores = model.scores(model.fold_in(told))
    scores[told.user_of_event, told.items] = -np.inf
    hits = scores.argmax(axis=1) == (np.arange(ITEMS) + 2) % ITEMS
    assert hits.mean() > 0.9


def test_recency_begins_at_the_transitions_of_its_start() -> None:
    """Scores in the same order, with the same popularity beside: vectors are only scaled."""
    log = histories_of(circles(np.random.default_rng(3)))
    first: Any = make_solver("transitions", {"embedding_dim": 5, "rounds": 2}, facts())
    settings = {"network": "recency", "learning_rate": 1e-6, "length": 6}
    settings["transitions"] = {"embedding_dim": 5, "rounds": 2}
    solver: Any = make_solver("sequential", settings, facts())
    start, model = (one.finish(train(one, log)) for one in (first, solver))
    own = start.scores(start.fold_in(log))
    popularity = np.log(start.popularity / start.popularity.mean())
    size = np.sqrt(np.mean(np.square(start.item_next).sum(axis=1)))
    expected = 3.0 * own / size + 0.3 * popularity
    np.testing.assert_allclose(model.scores(model.fold_in(log)), expected, atol=1e-4)


def test_with_privacy_a_sequential_model_is_one_that_bears_noise() -> None:
    private: Any = make_solver("sequential", {}, facts(private=True))
    assert private.model_settings.network == "recency"
    assert private.steps[-2].release.step == "sequential.round_5"
    assert [step.release.step for step in private.steps].count("transitions.next") == 1
    assert (private.local_steps, private.train_items) == (1, False)
    assert sum(step.release.share for step in private.steps[:-6]) == pytest.approx(0.8)
    two: Any = make_solver("sequential", {"rounds": 2, "local_steps": 3}, facts(private=True))
    assert (two.rounds, two.local_steps) == (2, 3)
    null: Any = make_solver("sequential", {"rounds": None, "start": None}, facts(private=True))
    assert null.steps == private.steps


@pytest.mark.parametrize("settings", [{"network": "recency"}, {}])
def test_recency_has_one_start(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="where `transitions` ends, not at 'random'") as caught:
        make_solver("sequential", {**settings, "start": "random"}, facts(private=True))
    assert caught.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize("setting", [{"embedding_dim": 8}, {"decays": (0.5,)}, {"looks_back": 3}])
def test_recency_has_the_sizes_of_its_start(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="in `transitions`, or name the network") as caught:
        make_solver("sequential", setting, facts(private=True))
    assert next(iter(setting)) in str(caught.value)


def groups(rng: np.random.Generator, count: int = 6) -> list[list[int]]:
    """Users who like one third of the items."""
    return [
        rng.choice(np.arange(user % 3, ITEMS, 3), count, replace=False).tolist()
        for user in range(USERS)
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"personal_steps": 2, "share_head": False, "head": 4},
        {"negatives": 12},
        {"start": "subspace", "train_items": False, "subspace": {"rounds": 2, "embedding_dim": 4}},
    ],
    ids=["plain", "personal", "sampled", "subspace"],
)
def test_a_neural_model_learns_what_goes_together(settings: dict[str, Any]) -> None:
    solver = make_solver("neural", {**FAST, **settings}, facts())
    model = solver.finish(train(solver, histories_of(groups(np.random.default_rng(0)))))
    told = histories_of([[kind, kind + 3, kind + 9] for kind in range(3)])
    scores = model.scores(model.fold_in(told))
    scores[told.user_of_event, told.items] = -np.inf
    best = np.argsort(-scores, axis=1)[:, :5] % 3
    np.testing.assert_array_equal(best, np.repeat(np.arange(3)[:, None], 5, axis=1))


def test_explicit_ratings_are_predicted_better_than_by_their_mean() -> None:
    rng = np.random.default_rng(1)
    rows = [rng.choice(ITEMS, 10, replace=False).tolist() for _ in range(USERS)]
    rated = [[5.0 if item % 2 == user % 2 else 2.0 for item in rows[user]] for user in range(USERS)]
    solver: Any = make_solver(
        "neural", {**FAST, "loss": "explicit", "rating_scale": 1.5, "local_steps": 150}, facts()
    )
    public = {"seed": np.zeros(1), "popularity": np.ones(ITEMS)}
    assert len(solver._draw(0, public).shared) == 1  # its loss reads none
    model: Any = solver.finish(train(solver, histories_of(rows, rated)))
    known = histories_of([row[:6] for row in rows], [r[:6] for r in rated])
    asked = histories_of([row[6:] for row in rows], [r[6:] for r in rated])
    assert evaluate_ratings(model, known, asked).rmse < 0.75  # 1.5 by the mean


def test_features_alone_place_an_item_that_nobody_met() -> None:
    rows = groups(np.random.default_rng(2), count=5)
    rows = [[item for item in row if item != 21] for row in rows]
    settings = {**FAST, "feature_width": 3, "init_stddev": 1e-3, "negatives": 6}
    solver: Any = make_solver("neural", settings, facts())
    begin = solver.initial_state
    kinds = np.eye(3, dtype=np.float32)[np.arange(ITEMS) % 3]
    solver.initial_state = lambda seed: {**begin(seed), "features": kinds}
    model = solver.finish(train(solver, histories_of(rows)))
    likeness = model.item_vectors[[3, 4, 5]] @ model.item_vectors[21]
    assert likeness[0] > 0 > max(likeness[1:])


@pytest.mark.parametrize("name", ["sequential", "neural"])
def test_defaults_differ_with_privacy(name: str) -> None:
    plain: Any = make_solver(name, {}, facts())
    private: Any = make_solver(name, NAMED[name], facts(private=True))
    assert (plain.train_items, private.train_items) == (True, False)
    assert (plain.rounds, plain.local_steps) == (40, 200)
    assert (private.rounds, private.local_steps, private.sampling_rate) == (10, 1, 1.0)
    assert len(plain.steps) == 41
    assert private.steps[0].release.step == "subspace.popularity"
    assert private.steps[-1].released == ("parameters",)
    assert sum(step.release.share for step in private.steps) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["sequential", "neural"])
@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"dropout": 0.1}, {"private": True}),
        ({"local_steps": 2}, {"private": True, "central": True}),
        ({"sampling_rate": 0.5}, {"private": True, "central": True}),
        (CHOOSING, {"private": True, "central": True}),
    ],
)
def test_what_promises_too_little_is_refused(
    name: str, settings: dict[str, Any], values: dict[str, bool]
) -> None:
    with pytest.raises(PlanError) as caught:
        make_solver(name, settings, facts(**values))
    assert caught.value.code is Code.PLAN_MODE


@pytest.mark.parametrize("name", ["sequential", "neural"])
def test_rows_are_chosen_among_items_and_the_network_is_kept(name: str) -> None:
    """In the rounds, not in the start, which has no dense rows."""
    solver = make_solver(name, {**CHOOSING, "rounds": 2}, facts(private=True))
    dense = solver.model_specs["dense"].shape[0]
    expected = RowSelection(threshold=6.0, share=0.2, dense_rows=dense)
    choices = [step.release.selection for step in solver.steps]
    assert choices[-2:] == [expected, expected]
    assert not any(choices[:-2])
    assert solver.steps[-1].release.rows == ITEMS + dense


@pytest.mark.parametrize("name", ["sequential", "neural"])
@pytest.mark.parametrize(
    "settings",
    [
        {"row_selection": {"threshold": 6.0}},
        {"row_selection": {"threshold": 6.0, "dense_rows": 1}, "train_items": True},
        {"row_selection": {}, "train_items": True},
    ],
    ids=["nothing to choose", "dense rows that are not the network's", "no threshold"],
)
def test_a_choice_of_rows_that_is_none_is_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make_solver(name, settings, facts(private=True))


@pytest.mark.parametrize("name", ["sequential", "neural"])
def test_items_that_nobody_has_stay_as_they_were(name: str) -> None:
    """Beneath the threshold in every step; the network's own parameters move all the same."""
    small = {"embedding_dim": 4, "rounds": 1, "local_steps": 2, "start": "random", "negatives": 1}
    chosen = {**CHOOSING, "row_selection": {"threshold": 15.0, "share": 0.5}}
    solver = make_solver(name, {**chosen, **small, **NAMED[name]}, facts(private=True))
    release = plan_of(solver).releases[1]
    assert 5 * release.count_noise_std < 15.0
    data = Data(histories_of([[0, 1, 2]] * 400))
    state = solver.initial_state(1)
    public = NoisyTotal(np.ones((ITEMS, 1)), 0.0, 400.0)
    state = solver.advance(0, state, public)
    before, touched = state["parameters"], {0, 1, 2}
    mechanism = SelectedSum(release, NoiseSource.system())
    for _ in range(2):
        touched |= set(solver._draw(solver._time(1, state), state).shared.tolist())
        total = mechanism.sum(solver.contribute(1, state, data, mechanism.sample(400)))
        state = solver.advance(1, state, NoisyTotal(total, mechanism.noise_std, 400.0))
    moved = np.any(state["parameters"] != before, axis=1)
    assert moved[ITEMS:].all()
    assert {0, 1, 2} <= set(np.flatnonzero(moved[:ITEMS])) <= touched


@pytest.mark.parametrize("name", ["sequential", "neural"])
def test_too_many_steps_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        make_solver(name, {"rounds": 1000, "local_steps": MOST_STEPS // 1000 + 1}, facts())


@pytest.mark.parametrize("name", ["sequential", "neural"])
def test_every_step_has_a_draw_of_its_own(name: str) -> None:
    solver: Any = make_solver(name, {"negatives": 9}, facts(private=True))
    state = {"seed": np.array([3.0]), "popularity": np.ones(ITEMS)}
    draws = [solver._draw(time, state) for time in range(8)]
    assert len({tuple(draw.shared) for draw in draws}) == 8
    assert len({draw.place for draw in draws}) == 8
    again = solver._draw(5, state)
    assert (tuple(again.shared), again.place) == (tuple(draws[5].shared), draws[5].place)


def test_the_learning_rate_warms_up_and_falls() -> None:
    solver: Any = make_solver("neural", {"rounds": 10, "local_steps": 10}, facts())
    rates = [solver._share_of_rate(time) for time in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[5] == 1.0
    assert rates[-1] < 0.03
    assert (np.diff(rates[5:]) < 0).all()
