"""Who reads weights: the one place that decides it, held to what contributions depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from common.arrays import Floats, Histories, Ints
from common.job import Job
from common.models.registry import KINDS, model_class
from common.models.weights import RatingUnits, histories_for, rating_units, reads_weights
from common.privacy.inbound import check_arrays
from common.schedule import Schedule
from common.solvers.base import NoisyTotal, given_to
from common.solvers.registry import SOLVERS

ITEMS, USERS = 30, 25
SMALL: Mapping[str, Mapping[str, Any]] = {
    "subspace": {"rounds": 1, "embedding_dim": 3},
    "ials": {"rounds": 1, "embedding_dim": 3},
    "dpsgd": {"rounds": 1, "embedding_dim": 3, "negatives": 5},
    "sequential": {"rounds": 1, "length": 6, "negatives": 9},
    "neural": {"rounds": 1, "embedding_dim": 4, "length": 6, "negatives": 9},
    "transitions": {"rounds": 1, "embedding_dim": 3, "length": 4},
    "popularity": {},
}
EXPLICIT: Mapping[str, Any] = {**SMALL["neural"], "loss": "explicit"}


@dataclass(frozen=True)
class Log:
    """A client's log, as `ClientStore` offers it."""

    rated: Histories
    heldout: Ints | None

    @property
    def histories(self) -> Histories:
        return self.rated.unweighted()


def log(weights: Floats | float = 1.0) -> Log:
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.choice(ITEMS, 8, replace=False)) for _ in range(USERS)]
    items = np.concatenate([row[:7] for row in rows]).astype(np.int64)
    order = np.tile(rng.permutation(7), USERS).astype(np.int64)
    each = np.broadcast_to(np.asarray(weights, np.float64), items.shape)
    held = np.array([row[7] for row in rows], dtype=np.int64)
    return Log(Histories(np.arange(USERS + 1) * 7, items, each, ITEMS, order), held)


def odd_weights() -> Floats:
    """Ratings, nonsense, and none at all."""
    weights = np.random.default_rng(1).uniform(1, 5, 7 * USERS)
    weights[::5] = [np.nan, np.inf, -3.0, 1e300, 1e-300] * 7
    return weights


def schedule_for(solver: str, settings: Mapping[str, Any]) -> Schedule:
    private = solver != "ials"
    return Schedule(
        Job(
            job_id="0" * 32,
            catalogue_version="c",
            n_items=ITEMS,
            clients=1,
            population=USERS,
            signal=float(USERS),
            mode="local" if private else "none",
            epsilon=8.0 if private else None,
            delta=1e-4 if private else 0.0,
            solver=solver,
            settings=dict(settings),
            evaluation_share=0.2 if private else 0.0,
        )
    )


def contributions(schedule: Schedule, of: Log) -> Iterator[tuple[bytes, ...]]:
    """Every byte that all users contribute, step by step, with what the server sends fixed."""
    std = 0.0 if schedule.plan.mode == "none" else 1.0
    everybody, sent = np.arange(USERS, dtype=np.int64), schedule.initial_state()
    for index, step in enumerate(schedule.steps):
        wired = {
            name: np.ascontiguousarray(array, np.float32)
            for name, array in schedule.inputs(index, sent).items()
        }
        safe = check_arrays(wired, step.inputs)
        inputs = {name: array.astype(np.float64) for name, array in safe.items()}
        batches = list(schedule.contribute(index, inputs, of, everybody))
        blocks = [block for batch in batches for block in batch.expand(1 << 20)]
        yield tuple(array.tobytes() for b in blocks for array in (b.users, b.rows, b.values))
        if step.aggregate == "average":
            shape = (step.release.rows, step.release.width)
            total = np.random.default_rng(index).normal(size=shape)
            after = schedule.advance(index, inputs, NoisyTotal(total, std, USERS))
            sent = {**sent, **{name: after[name] for name in step.outputs}}
        else:
            values = np.abs(
                np.random.default_rng(index).normal(size=(step.release.rows, step.release.width))
            )
            sent = schedule.advance(index, sent, NoisyTotal(values, std, USERS))


@pytest.mark.parametrize("solver", SOLVERS)
def test_contributions_are_the_same_bytes_whatever_weights_are(solver: str) -> None:
    schedule = schedule_for(solver, SMALL[solver])
    assert not reads_weights(schedule.solver)
    plain, odd = (list(contributions(schedule, log(w))) for w in (1.0, odd_weights()))
    assert plain == odd
    assert any(plain)


def test_ratings_reach_the_steps_that_are_trained_on_them_and_no_others() -> None:
    schedule = schedule_for("neural", EXPLICIT)
    assert reads_weights(schedule.solver)
    plain, odd = (list(contributions(schedule, log(w))) for w in (3.0, odd_weights()))
    reads = [a != b for a, b in zip(plain, odd, strict=True)]
    named = dict(zip((s.release.step for s in schedule.steps), reads, strict=True))
    assert named["neural.round_1"]
    assert not any(differs for name, differs in named.items() if name.startswith("subspace"))


def test_contributions_to_ratings_are_finite_whatever_a_log_holds() -> None:
    schedule = schedule_for("neural", EXPLICIT)
    for of in (log(odd_weights()), log(np.nan), log(np.inf), log(1e308), log(-1e308)):
        for step in contributions(schedule, of):
            assert all(np.isfinite(np.frombuffer(raw)).all() for raw in step[2::3])


def test_a_log_without_ratings_contributes_nothing_to_them() -> None:
    schedule = schedule_for("neural", EXPLICIT)
    last = [name for name, s in enumerate(schedule.steps) if s.release.step == "neural.round_1"]
    found = list(contributions(schedule, log(np.nan)))[last[0]]
    assert not any(np.frombuffer(raw).any() for raw in found[2::3])


def test_nothing_is_given_beside_what_a_reader_may_read() -> None:
    of = log(odd_weights())
    for solver in SOLVERS:
        given = given_to(schedule_for(solver, SMALL[solver]).solver, of)
        assert set(vars(given)) == {"histories", "heldout"}
        assert (given.histories.weights == 1).all()
    explicit = given_to(schedule_for("neural", EXPLICIT).solver, of)
    assert explicit.histories is of.rated


def test_no_kind_of_model_reads_weights_but_one_that_predicts_ratings() -> None:
    with_property = {kind for kind in KINDS if hasattr(model_class(kind), "reads_weights")}
    assert with_property == {"neural"}
    settings: Any = model_class("neural").Settings
    assert not settings().reads_weights
    assert settings(loss="explicit").reads_weights


def test_scores_have_units_where_ratings_are_read_and_nowhere_else() -> None:
    settings: Any = model_class("neural").Settings
    explicit = settings(loss="explicit", rating_mean=3.0, rating_scale=0.5)
    units = rating_units(explicit)
    assert units == RatingUnits(3.0, 0.5, 4.0)
    shown = units.ratings(np.array([0.0, 1.0, -2.0, 4.0, 9.0, -np.inf]))
    assert shown.tolist() == [3.0, 3.5, 2.0, 5.0, 5.0, 1.0]
    for other in (settings(), object(), None, schedule_for("neural", EXPLICIT).solver):
        assert rating_units(other) is None


def test_whoever_does_not_say_so_is_given_ones() -> None:
    rated = log(odd_weights()).rated
    for reader in (object(), replace, None):
        assert (histories_for(reader, rated).weights == 1).all()
