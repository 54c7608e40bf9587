"""Defect: a weight multiplies a contribution after it was clipped, or goes round the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from client import training
from client.store import ClientStore
from common.arrays import Floats, Histories, Ints
from common.privacy import summing
from common.privacy.contributions import Contributions, SparseRows
from common.privacy.gathered import PADDING, GatheredRows
from common.privacy.gathered_sum import add_gathered
from common.privacy.grid import quantise
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release as Planned
from common.privacy.stream import NoiseSource
from tests.defects.support import SOLVERS, add_user, assert_one_clip, make_loud, releases_of

USERS = {"few events, each of weight 1e9": (3, 1e9), "many events": (60, 1.0), "one": (1, 1e-9)}


def check(client_of: Callable[..., Any], solver: str) -> None:
    """However a user's events weigh, and however many users there are: one user is one clip."""
    without = releases_of(client_of(solver))
    for items, weight in USERS.values():
        whole = releases_of(client_of(solver, change=add_user("0-heavy", items, weight)))
        for more, less in zip(whole, without, strict=True):
            assert_one_clip(more, less)


def written_out(users: Ints, values: Floats) -> Contributions:
    """All nine rows of everybody."""
    indptr = 9 * np.arange(len(users) + 1)
    return SparseRows(users, indptr, np.tile(np.arange(9), len(users)), values.reshape(-1, 2))


def gathered(users: Ints, values: Floats) -> Contributions:
    """The same as three own rows, two shared ones, and four of dense parameters."""
    own = np.tile(np.array([4, 0, 2]), (len(users), 1))
    dense = values[:, 5:].reshape(len(users), 8)
    return GatheredRows(
        users, own, values[:, [4, 0, 2]], np.array([1, 3]), values[:, [1, 3]], range(5, 9), dense
    )


FORMS = [written_out, gathered]


def check_mechanism(sampling_rate: float, form: Callable[[Ints, Floats], Contributions]) -> None:
    """The same of one mechanism, whose users are sampled: nobody weighs more for being rare."""
    users = 40
    values = 50 * np.random.default_rng(0).normal(size=(users, 9, 2))
    totals = []
    planned = Planned(
        step="s", rows=9, width=2, share=1.0, noise_multiplier=0.5, sampling_rate=sampling_rate
    )
    for left_out in (None, 0):
        mechanism = GaussianSum(planned, NoiseSource.seeded(1))
        chosen = mechanism.sample(users)
        taking = chosen if left_out is None else np.delete(chosen, left_out)
        totals.append(mechanism.sum([form(taking, values[taking])]))
    moved = float(np.linalg.norm(totals[0] - totals[1]))
    assert 0.9 < moved <= 1.0, f"a sampled user moved the sum by {moved:.3g}"


@pytest.mark.parametrize("loud", [False, True], ids=["as it is", "loud"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_nobody_weighs_more_than_one_clip(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str, loud: bool
) -> None:
    if loud:
        make_loud(monkeypatch)
    check(client_of, solver)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sampling_rate", [1.0, 0.5, 0.2])
def test_a_sampled_user_weighs_one_clip(
    sampling_rate: float, form: Callable[[Ints, Floats], Contributions]
) -> None:
    check_mechanism(sampling_rate, form)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_weight_before_the_clip_is_no_defect(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str
) -> None:
    """The checks are about the release, not about a way to write it."""
    monkeypatch.setattr(Histories, "unweighted", lambda self: self)
    check(client_of, solver)


def by_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users count by the rows that they touch, once their contribution is clipped."""

    def weighted(block: SparseRows, clip_norm: float, clip_grid: int) -> Ints:
        lengths = np.diff(block.indptr)
        return quantise(block, clip_norm, clip_grid) * np.repeat(lengths, lengths)[:, None]

    def added(total: Ints, batch: GatheredRows, clip_norm: float, clip_grid: int) -> None:
        for user in range(len(batch.users)):
            alone, one = np.zeros_like(total), batch.take(slice(user, user + 1))
            add_gathered(alone, one, clip_norm, clip_grid)
            total += alone * np.count_nonzero(one.own_rows != PADDING)

    monkeypatch.setattr(summing, "quantise", weighted)
    monkeypatch.setattr(summing, "add_gathered", added)


def round_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast sum, which is for mode `none`, in the place of the clipped one."""

    def add(self: GaussianSum, total: Ints, contributions: Iterable[Contributions]) -> None:
        plain = np.zeros(total.shape)
        for batch in contributions:
            batch.add_to(plain)
        total += np.rint(plain / self._unit).astype(np.int64)

    make_loud(monkeypatch)
    monkeypatch.setattr(GaussianSum, "_add", add)


def times(weight: Callable[[ClientStore], float]) -> Callable[[pytest.MonkeyPatch], None]:
    def defect(monkeypatch: pytest.MonkeyPatch) -> None:
        sound = training._sum

        def weighted(
            index: int, schedule: Any, inputs: Any, store: ClientStore, mechanism: Any
        ) -> Floats:
            return weight(store) * sound(index, schedule, inputs, store, mechanism)

        monkeypatch.setattr(training, "_sum", weighted)

    return defect


DEFECTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "by activity": by_activity,
    "round the clip": round_the_clip,
    "by the number of users": times(lambda store: store.histories.n_users),
    "by users over declared": times(
        lambda store: store.histories.n_users / store.settings.population
    ),
    "by events": times(lambda store: len(store.histories.items) / 100),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_weight_behind_the_clip_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str, defect: str
) -> None:
    DEFECTS[defect](monkeypatch)
    with pytest.raises(AssertionError, match="moved by"):
        check(client_of, solver)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sampling_rate", [0.5, 0.2])
def test_a_weight_by_rarity_is_found(
    monkeypatch: pytest.MonkeyPatch,
    sampling_rate: float,
    form: Callable[[Ints, Floats], Contributions],
) -> None:
    """Horvitz and Thompson's estimator: unbiased, and 1/q times the sensitivity."""

    def weighted(block: SparseRows, clip_norm: float, clip_grid: int) -> Ints:
        return np.rint(quantise(block, clip_norm, clip_grid) / sampling_rate).astype(np.int64)

    def added(total: Ints, batch: GatheredRows, clip_norm: float, clip_grid: int) -> None:
        alone = np.zeros_like(total)
        add_gathered(alone, batch, clip_norm, clip_grid)
        total += np.rint(alone / sampling_rate).astype(np.int64)

    monkeypatch.setattr(summing, "quantise", weighted)
    monkeypatch.setattr(summing, "add_gathered", added)
    with pytest.raises(AssertionError, match="moved the sum by"):
        check_mechanism(sampling_rate, form)
