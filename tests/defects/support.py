"""What the tests of deliberate defects share: a release of a real client, taken apart.

A release promises to be Σ over users of a clipped contribution, plus noise. The sum is made
here a second time, the slow way: each user alone, in a log that holds nobody else. What
remains of the release is its noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from common.arrays import Floats, Histories, Ints, State
from common.privacy import mechanisms
from common.privacy.contributions import SparseRows
from common.privacy.events import GaussianSumEvent, read_event
from common.protocol import OK, Reply, Task
from common.schedule import Schedule
from common.solvers.base import NoisyTotal

__all__ = [
    "ALARM",
    "EVALUATION_ROWS",
    "JOBS",
    "SOLVERS",
    "Alone",
    "Change",
    "Release",
    "add_user",
    "alter_draws",
    "assert_one_clip",
    "change_tables",
    "charged_event",
    "gaussian_bounds",
    "make_loud",
    "only_users",
    "release_of",
    "releases_of",
    "task_for",
]

ALARM = 1e-8
"""Probability with which one statistic may reject sound code; a run makes some forty."""
EVALUATION_ROWS = 3
Change: TypeAlias = Callable[[pd.DataFrame], pd.DataFrame]
_ONE_STEP = {"rounds": 1, "local_steps": 1, "embedding_dim": 5, "negatives": 20}
# a rate at which a release, rounded to float32, still holds what was summed
_NETWORK: dict[str, Any] = {
    **_ONE_STEP, "start": "random", "train_items": True, "length": 10,
    "optimizer": "sgd", "learning_rate": 1e4,
}  # fmt: skip
JOBS: dict[str, dict[str, Any]] = {
    "popularity": {"solver": "popularity", "settings": {}},
    "subspace": {"solver": "subspace", "settings": {"rounds": 1, "embedding_dim": 4}},
    "dpsgd": {"solver": "dpsgd", "settings": _ONE_STEP},
    "dpsgd-fast": {"solver": "dpsgd", "settings": {**_ONE_STEP, "sampler": "fast"}},
    "transitions": {"solver": "transitions", "settings": {"rounds": 1, "embedding_dim": 4}},
    "sequential": {
        "solver": "sequential",
        "settings": {**_NETWORK, "network": "attention", "blocks": 1, "heads": 1},
    },
    "neural": {"solver": "neural", "settings": {**_NETWORK, "head": 0}},
}
"""Every solver with a private mode, by both samplers; a private evaluation comes on top."""
SOLVERS = [name for name in JOBS if name == JOBS[name]["solver"]]


@dataclass(frozen=True)
class Alone:
    """The data of a client with one user."""

    histories: Histories
    heldout: Ints | None


@dataclass(frozen=True)
class Release:
    """One release as it left a client, `[rows, width]` in natural units.

    Attributes:
        name: of the step.
        total: what left, as the noisy sum that it is or was made of.
        add_up: makes `exact`, which takes its time.
        sigma: standard deviation of the noise that the ledger charged for.
        clip_norm: most that one user may move the total.
        slack: largest error of `total` and `exact` by rounding, per entry.
    """

    name: str
    total: Floats
    add_up: Callable[[], Floats]
    sigma: float
    clip_norm: float
    slack: float

    @cached_property
    def exact(self) -> Floats:
        """The sum of each user's clipped contribution."""
        return self.add_up()

    @property
    def noise(self) -> Floats:
        """What is not sum, in units of the charged σ, flat."""
        flat: Floats = (self.total - self.exact).ravel() / self.sigma
        return flat


def releases_of(shop: Any) -> list[Release]:
    """All releases of the client's job, asked for one after another by real messages."""
    return [release_of(shop, index) for index in range(len(shop.schedule.steps))]


def release_of(shop: Any, index: int) -> Release:
    """Ask a client for one step and take the answer apart."""
    task = task_for(shop, index)
    reply = shop.ask(task)
    if reply.code != OK:  # no AssertionError: a check that is refused has found nothing
        raise RuntimeError(f"step {index} was refused: {reply.code}")
    # as a client widens them
    inputs = {name: array.astype(np.float64) for name, array in task.inputs.items()}
    planned, event = shop.schedule.plan.releases[index], charged_event(shop)
    unit = planned.clip_norm / event.clip_grid
    return Release(
        name=planned.step,
        total=_total(shop, index, inputs, reply),
        add_up=lambda: _clipped_sum(shop, index, inputs, event.clip_grid) * unit,
        sigma=event.sigma_grid * unit,
        clip_norm=planned.clip_norm,
        slack=2 * unit + 1e-4 * planned.clip_norm,
    )


def task_for(shop: Any, index: int) -> Task:
    """What a server may ask in a step: arrays with nothing special about them."""
    rng, specs = np.random.default_rng(index), shop.schedule.steps[index].inputs
    inputs = {
        name: (rng.normal(0.0, 0.3, spec.shape) if len(spec.shape) == 2 else np.ones(spec.shape))
        for name, spec in specs.items()
    }
    sent = {name: array.astype(np.float32) for name, array in inputs.items()}
    task: Task = shop.task(index, inputs=sent)
    return task


def charged_event(shop: Any) -> GaussianSumEvent:
    """What the ledger charged last."""
    event = read_event(shop.rows("reserve")[-1].body["event"])
    if not isinstance(event, GaussianSumEvent):
        raise TypeError(f"{event.kind} is not what these tests are about")
    return event


def assert_one_clip(whole: Release, less: Release) -> None:
    """One user more moved a release, under the same noise, by no more than the clip norm."""
    moved = float(np.linalg.norm(whole.total - less.total))
    rounding = np.sqrt(whole.total.size) * whole.slack
    assert moved <= whole.clip_norm + rounding, f"{whole.name} moved by {moved:.3g}"


def change_tables(folder: Path, change: Change) -> None:
    """Write a client's events and held-out items anew."""
    for name in ("events.parquet", "heldout.parquet"):
        rows = change(pd.read_parquet(folder / name))
        rows.to_parquet(folder / name, index=False)


def only_users(count: int) -> Change:
    """A change of a client's tables: so many of its users, and nobody else."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        kept = sorted(rows["user_id"].unique())[:count]
        return rows[rows["user_id"].isin(kept)]

    return change


def add_user(user_id: str, items: int, weight: float = 1.0) -> Change:
    """A change of a client's tables: one user more, with events on so many items of others."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        mine = rows.drop_duplicates("item_id").sort_values("item_id")
        is_log = "weight" in rows  # else held out: one item
        mine = mine.head(items).assign(weight=weight) if is_log else mine.tail(1)
        return pd.concat([rows, mine.assign(user_id=user_id)], ignore_index=True)

    return change


def make_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contributions a thousand times as large: what solvers do is no part of the promise."""
    contribute = Schedule.contribute

    def loud(self: Schedule, *args: Any) -> Iterator[SparseRows]:
        for batch in contribute(self, *args):
            for block in batch.expand(1 << 20):
                yield replace(block, values=1e3 * block.values)

    monkeypatch.setattr(Schedule, "contribute", loud)


def gaussian_bounds(draws: int, alarm: float = ALARM) -> tuple[float, float]:
    """Between which the squares of that many standard normals add up, but for `alarm`."""
    return float(chi2.ppf(alarm / 2, draws)), float(chi2.isf(alarm / 2, draws))


def alter_draws(monkeypatch: pytest.MonkeyPatch, change: Callable[[str, Ints], Ints]) -> None:
    """Let a defect into the noise: what is drawn is changed, what is charged is not.

    Args:
        change: from the sampler's name and its draws to what is added to the sum.
    """
    make = mechanisms.make_sampler

    class Altered:
        def __init__(self, name: Any, sigma_grid: int) -> None:
            self.name, self.sound = name, make(name, sigma_grid)

        def draw(self, shape: tuple[int, ...], noise: Any) -> Ints:
            return change(self.name, self.sound.draw(shape, noise))

    monkeypatch.setattr(mechanisms, "make_sampler", Altered)


def _total(shop: Any, index: int, inputs: State, reply: Reply) -> Floats:
    """The noisy sum in a reply; of an `average` step (one, linear in its sum) by inverting it."""
    schedule = shop.schedule
    ((name, array),) = reply.arrays.items()
    if schedule.steps[index].aggregate != "average":
        return array.astype(np.float64)
    planned = schedule.plan.releases[index]
    zero = NoisyTotal(
        values=np.zeros((planned.rows, planned.width)),
        noise_std=planned.noise_multiplier * planned.clip_norm,
        population=float(shop.store.settings.population),
        sampling_rate=planned.sampling_rate,
    )
    origin = schedule.advance(index, inputs, zero)[name]
    one = schedule.advance(index, inputs, replace(zero, values=zero.values + planned.clip_norm))
    total: Floats = (array - origin) / (one[name] - origin) * planned.clip_norm
    return total


def _clipped_sum(shop: Any, index: int, inputs: State, clip_grid: int) -> Floats:
    """Σ of the users' contributions in units of the grid, each made and clipped alone."""
    schedule, store = shop.schedule, shop.store
    planned = schedule.plan.releases[index]
    total = np.zeros((planned.rows, planned.width))
    for user in range(store.histories.n_users):
        only = np.array([user])
        heldout = None if store.heldout is None else store.heldout[only]
        alone = Alone(store.histories.take(only), heldout)
        own = np.zeros_like(total)
        for batch in schedule.contribute(index, inputs, alone, np.array([0])):
            batch.add_to(own)
        clipped = own / max(float(np.linalg.norm(own)), planned.clip_norm)
        total += np.trunc(clipped * (clip_grid * (1 - 2.0**-30)))
    return total
