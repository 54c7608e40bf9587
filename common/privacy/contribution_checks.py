"""What must be true of contributions before they are summed, whatever a solver yields."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.arrays import Ints
from common.errors import Code, PrivacyError
from common.privacy.gathered import PADDING, GatheredRows
from common.privacy.grid import LARGEST_POPULATION
from common.privacy.plan import Release
from common.privacy.rank_one import RankOne

__all__ = ["check_cut", "check_gathered", "check_rank_one", "check_rows", "check_users", "invalid"]


def invalid(release: Release, what: str) -> PrivacyError:
    """What is raised where a contribution could break the sensitivity."""
    return PrivacyError(
        Code.CONTRIBUTION_INVALID,
        f"{what}.",
        where=f"release {release.step!r}",
        remedy="This is a defect of the solver: it must yield each sampled user once, in order.",
    )


def check_users(users: Ints, last: int, release: Release, chosen: NDArray[np.bool_] | None) -> None:
    """At least one user, all of them behind `last`, each once, and sampled if anybody was."""
    if users[0] <= last or np.any(users[1:] <= users[:-1]):  # a difference could wrap around
        raise invalid(release, "users are not strictly increasing: one may count twice")
    if chosen is not None and (users[-1] >= len(chosen) or not np.all(chosen[users])):
        raise invalid(release, "a user takes part who was not sampled")
    if users[-1] >= LARGEST_POPULATION:
        raise invalid(release, f"more than {LARGEST_POPULATION} users")


def check_cut(indptr: Ints, users: int, entries: int, release: Release) -> None:
    """Every entry is one user's, in order."""
    fits = len(indptr) == users + 1 and indptr[0] == 0 and indptr[-1] == entries
    if not fits or np.any(indptr[1:] < indptr[:-1]):
        raise invalid(release, "indptr does not cut the rows into users")


def check_rows(indptr: Ints, rows: Ints, release: Release) -> None:
    """Rows of the release, each once within a user."""
    if len(rows) == 0:
        return
    if rows.min() < 0 or rows.max() >= release.rows:
        raise invalid(release, f"a row outside [0, {release.rows})")
    same_user = np.ones(len(rows) - 1, dtype=np.bool_)
    starts = indptr[1:-1]
    same_user[starts[(starts > 0) & (starts < len(rows))] - 1] = False
    if np.any((np.diff(rows) <= 0) & same_user):
        raise invalid(release, "rows are not strictly increasing within a user")


def check_rank_one(
    batch: RankOne, last: int, release: Release, chosen: NDArray[np.bool_] | None
) -> None:
    """All that is asked of rows that are written out, of outer products.

    Raises:
        PrivacyError: `contribution-invalid`, types or shapes that do not fit each other or the
            release; users as in `check_users`; rows out of range, or twice within a user.
    """
    positions = (batch.users, batch.indptr, batch.rows, batch.shared_rows)
    if any(array.dtype.kind != "i" or array.ndim != 1 for array in positions):
        raise invalid(release, "users, indptr or rows are not vectors of signed integers")
    values = (batch.left, batch.right, batch.shared_left)
    if any(array.dtype not in (np.float32, np.float64) for array in values):
        raise invalid(release, "values are neither float32 nor float64")
    users, shared = len(batch.users), len(batch.shared_rows)
    fits = batch.right.shape == (users, release.width) and batch.left.shape == batch.rows.shape
    if not fits or (shared > 0 and batch.shared_left.shape != (users, shared)):
        raise invalid(release, f"outer products of width {release.width} do not fit each other")
    check_cut(batch.indptr, users, len(batch.rows), release)
    if users == 0:
        return
    check_users(batch.users, last, release, chosen)
    check_rows(batch.indptr, batch.rows, release)
    _check_shared(batch.shared_rows, release.rows, release)


def check_gathered(
    batch: GatheredRows, last: int, release: Release, chosen: NDArray[np.bool_] | None
) -> None:
    """All that is asked of rows that are written out, of gathered ones.

    Raises:
        PrivacyError: `contribution-invalid`, types or shapes that do not fit each other or the
            release; users as in `check_users`; rows out of range, or twice within a user.
    """
    _check_types(batch, release)
    _check_shapes(batch, release)
    if len(batch.users) == 0:
        return
    check_users(batch.users, last, release, chosen)
    dense, end = batch.dense_rows, release.rows
    if len(dense) > 0:
        if dense.start < 0 or dense.stop > release.rows:
            raise invalid(release, f"a row outside [0, {release.rows})")
        end = dense.start
    _check_shared(batch.shared_rows, end, release)
    _check_own(batch.own_rows, end, release)


def _check_types(batch: GatheredRows, release: Release) -> None:
    positions = (batch.users, batch.own_rows, batch.shared_rows)
    if any(array.dtype.kind != "i" for array in positions):
        raise invalid(release, "users or rows are not signed integers")
    values = (batch.own_values, batch.shared_values, batch.dense_values)
    if any(array.dtype not in (np.float32, np.float64) for array in values):
        raise invalid(release, "values are neither float32 nor float64")


def _check_shapes(batch: GatheredRows, release: Release) -> None:
    width, dense = release.width, batch.dense_rows
    fits = batch.users.ndim == batch.shared_rows.ndim == 1
    fits = fits and batch.own_rows.ndim == batch.dense_values.ndim == 2
    if fits:
        users, own = len(batch.users), batch.own_rows.shape[1]
        fits = (
            batch.own_rows.shape == (users, own)
            and batch.own_values.shape == (users, own, width)
            and batch.shared_values.shape == (users, len(batch.shared_rows), width)
            and len(batch.dense_values) == users
            and dense.step == 1
            and len(dense) == -(-batch.dense_values.shape[1] // width)
        )
    if not fits:
        raise invalid(release, f"gathered rows of width {width} do not fit each other")


def _check_shared(rows: Ints, end: int, release: Release) -> None:
    if len(rows) and (rows[0] < 0 or rows[-1] >= end):
        raise invalid(release, f"a shared row outside [0, {end})")
    if np.any(np.diff(rows) <= 0):
        raise invalid(release, "shared rows are not strictly increasing")


def _check_own(rows: Ints, end: int, release: Release) -> None:
    if rows.size == 0:
        return
    if rows.min() < PADDING or rows.max() >= end:
        raise invalid(release, f"an own row outside [0, {end})")
    ordered = np.sort(rows, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PADDING)
    if np.any(twice):
        raise invalid(release, "a row twice within a user")
