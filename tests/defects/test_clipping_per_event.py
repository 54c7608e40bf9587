"""Defect: each event is clipped, where the plan's unit is the user with the whole history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client import store
from common.arrays import Ints
from common.privacy import summing
from common.privacy.contributions import SparseRows
from common.privacy.grid import quantise
from common.schedule import Schedule
from tests.defects.support import SOLVERS, add_user, assert_one_clip, make_loud, releases_of

NAMES = ["0-glutton", "zz-glutton"]
"""Before all other users and after them."""


def check(client_of: Callable[..., Any], solver: str, name: str = NAMES[0]) -> None:
    """A user who bought everything moves each release by one clip, as anybody does."""
    whole = releases_of(client_of(solver, change=add_user(name, items=60)))
    for more, less in zip(whole, releases_of(client_of(solver)), strict=True):
        assert_one_clip(more, less)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_user_of_many_events_moves_one_clip(
    client_of: Callable[..., Any], solver: str, name: str
) -> None:
    check(client_of, solver, name)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_user_of_many_large_events_moves_one_clip(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str
) -> None:
    make_loud(monkeypatch)
    check(client_of, solver)


def clip_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mechanism clips each row of a contribution."""

    def each(block: SparseRows, clip_norm: float, clip_grid: int) -> Ints:
        rows = np.arange(len(block.rows) + 1)
        return quantise(SparseRows(rows[:-1], rows, block.rows, block.values), clip_norm, clip_grid)

    make_loud(monkeypatch)
    monkeypatch.setattr(summing, "quantise", each)


def contribute_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user comes once for each event, and nobody looks."""
    make_loud(monkeypatch)
    contribute = Schedule.contribute

    def split(self: Schedule, *args: Any) -> Iterator[SparseRows]:
        for block in contribute(self, *args):
            owner = np.repeat(block.users, np.diff(block.indptr))
            yield SparseRows(owner, np.arange(len(owner) + 1), block.rows, block.values)

    monkeypatch.setattr(Schedule, "contribute", split)
    monkeypatch.setattr(summing, "check_users", lambda *_: None)


def events_as_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is read with a user for each event: the unit is renamed and nothing else."""
    read = store.histories

    def by_event(events: pd.DataFrame, *args: Any, **options: Any) -> Any:
        names = events["user_id"] + "#" + pd.Series(range(len(events))).astype(str)
        return read(events.assign(user_id=names), *args, **options)

    monkeypatch.setattr(store, "histories", by_event)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "defect", [clip_rows, contribute_events, events_as_users], ids=lambda d: d.__name__
)
def test_clipping_per_event_is_found(
    client_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    solver: str,
    defect: Callable[[pytest.MonkeyPatch], None],
) -> None:
    defect(monkeypatch)
    with pytest.raises(AssertionError, match="moved by"):
        check(client_of, solver)
