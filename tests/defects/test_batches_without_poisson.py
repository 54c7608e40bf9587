"""Defect: users are batched in another way than the Poisson sampling that is accounted for.

Counts of 600 sums over 48 users are far from any law that a batch loader could have; the
same statistics are taken of the mechanism and of what reaches a solver at a real client.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, norm

from common.arrays import Ints
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release as Planned
from common.privacy.plan import ReleaseShape
from common.privacy.stream import NoiseSource
from common.protocol import OK
from common.solvers import popularity, registry
from common.solvers.base import ArraySpec, NoisyTotal, Step
from tests.defects.support import ALARM, charged_event, gaussian_bounds

Taken: Any = NDArray[np.bool_]
"""Who took part in which sum, `[sums, users]`."""
SUMS, USERS, RATE = 600, 48, 0.2
Defect = Callable[[NoiseSource, int, float], Ints]


def check(taken: Taken, other: Taken, rate: float) -> None:
    """Each user in each sum by a coin of their own.

    Args:
        taken: of one job.
        other: of another job with the same public seed.
        rate: what was accounted for.
    """
    sums, users = taken.shape
    variance = rate * (1 - rate)
    batches = np.sum((taken.sum(axis=1) - rate * users) ** 2) / (users * variance)
    shares = np.sum((taken.sum(axis=0) - rate * sums) ** 2) / (sums * variance)
    least, most = binom.interval(1 - ALARM / 6, taken.size, rate)
    sound = {
        "rate": least <= taken.sum() <= most,
        "sizes of batches": is_chi_square(batches, sums),
        "shares of users": is_chi_square(shares, users),
        "one sum and the next": are_apart(taken[:-1] & taken[1:], rate),
        "one user and the next": are_apart(taken[:, :-1] & taken[:, 1:], rate),
        "one job and another": are_apart(taken & other, rate),
    }
    assert all(sound.values()), [what for what, holds in sound.items() if not holds]


def is_chi_square(statistic: float, degrees: int) -> bool:
    low, high = gaussian_bounds(degrees, ALARM / 6)
    return bool(low < statistic < high)


def are_apart(both: Taken, rate: float) -> bool:
    """Whether two coins fall together as often as two coins do.

    A pair shares a coin with two others, which adds 2 (q³ − q⁴) to the variance of each.
    """
    mean = both.size * rate**2
    spread = np.sqrt(both.size * (rate**2 - rate**4 + 2 * (rate**3 - rate**4)))
    return bool(abs(both.sum() - mean) < norm.isf(ALARM / 12) * spread)


def taken_by_a_mechanism(rate: float = RATE) -> Taken:
    """Who is sampled by a mechanism that makes all its sums."""
    planned = Planned(
        step="s",
        rows=1,
        width=1,
        share=1.0,
        noise_multiplier=1.0,
        sampler="fast",
        sampling_rate=rate,
        steps=SUMS,
    )
    mechanism = GaussianSum(planned, NoiseSource.system())
    taken = np.zeros((SUMS, USERS), dtype=np.bool_)
    for row in taken:
        row[mechanism.sample(USERS)] = True
        mechanism.sum([])
    return taken


class Watched(popularity.Popularity):
    """A solver of many sums that notes whom it is asked about."""

    asked: list[Ints]

    @property
    def steps(self) -> tuple[Step, ...]:
        shape = ReleaseShape(
            step="popularity.count",
            rows=self.facts.n_items,
            width=1,
            share=1.0,
            sampling_rate=RATE,
            steps=SUMS,
            sampler="fast",
        )
        specs = {"popularity": ArraySpec((self.facts.n_items,), positive=True)}
        return (Step(shape, specs, "average"),)

    def contribute(self, step: int, state: Any, data: Any, users: Ints) -> Iterator[Any]:
        self.asked.append(users)
        yield from super().contribute(step, state, data, users)

    def advance(self, step: int, state: Any, total: NoisyTotal) -> dict[str, Any]:
        return dict(state)


def taken_at_a_client(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, job_id: str
) -> Taken:
    """Who contributes to a job that a real client answers, and what its ledger says of it."""
    module = ModuleType("watched_solver")
    module.Watched = Watched  # type: ignore[attr-defined]
    fields = {"evaluation_share": 0.0, "job_id": job_id, "renyi_order": 8}
    shop = client_of("popularity", secret_noise=True, **fields)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "watched_solver", module)
        patch.setitem(registry.SOLVERS, "popularity", "watched_solver:Watched")
        patch.setattr(Watched, "asked", [], raising=False)
        reply = shop.ask(shop.task())
        if reply.code != OK:
            raise RuntimeError(reply.code)
        asked = Watched.asked
    event = charged_event(shop)
    assert (event.sampling_rate, event.steps) == (RATE, len(asked)), "charged for other sums"
    taken = np.zeros((len(asked), shop.store.histories.n_users), dtype=np.bool_)
    for row, users in zip(taken, asked, strict=True):
        row[users] = True
    return taken


@pytest.mark.parametrize("rate", [0.1, RATE, 0.7])
def test_a_mechanism_samples_by_coins(rate: float) -> None:
    check(taken_by_a_mechanism(rate), taken_by_a_mechanism(rate), rate)


def test_who_contributes_at_a_client_was_sampled_by_coins(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (
        taken_at_a_client(client_of, monkeypatch, job_id) for job_id in ("5a" * 16, "5b" * 16)
    )
    check(one, other, RATE)


def everybody(_: NoiseSource, users: int, rate: float) -> Ints:
    """Charged as sampled, and nobody is left out."""
    return np.arange(users)


def fixed_size(noise: NoiseSource, users: int, rate: float) -> Ints:
    """Batches of one size: the neighbouring relation would be replacement."""
    order = np.argsort(noise.words(users))
    return np.sort(order[: round(rate * users)])


def one_batch(_: NoiseSource, users: int, rate: float) -> Ints:
    """The same users each time."""
    return np.arange(round(rate * users))


class Shuffled:
    """Epochs of shuffled batches, as data loaders make them."""

    def __init__(self) -> None:
        self.left: list[Ints] = []

    def __call__(self, noise: NoiseSource, users: int, rate: float) -> Ints:
        if not self.left:
            order = np.argsort(noise.words(users))
            self.left = np.array_split(order, round(1 / rate))
        return np.sort(self.left.pop())


class OnceAnEpoch:
    """Each user by a coin of their own, but once in every epoch: sizes look like Poisson's."""

    def __init__(self) -> None:
        self.left: list[Ints] = []

    def __call__(self, noise: NoiseSource, users: int, rate: float) -> Ints:
        if not self.left:
            batches = round(1 / rate)
            place = noise.words(users) % np.uint64(batches)
            self.left = [np.flatnonzero(place == batch) for batch in range(batches)]
        return self.left.pop()


class Sticky:
    """A sum begins with half of the users of the one before: right in size, not in memory."""

    def __init__(self) -> None:
        self.last: Ints | None = None

    def __call__(self, noise: NoiseSource, users: int, rate: float) -> Ints:
        coins = noise.words(users) < np.uint64(rate * 2.0**64)
        if self.last is not None:
            keep = noise.words(users) < np.uint64(0.5 * 2.0**64)
            coins = np.where(keep, np.isin(np.arange(users), self.last), coins)
        self.last = np.flatnonzero(coins)
        return self.last


class PublicSeed:
    """Coins from a generator that everybody can run."""

    def __init__(self) -> None:
        self.rngs: dict[bytes, np.random.Generator] = {}

    def __call__(self, noise: NoiseSource, users: int, rate: float) -> Ints:
        rng = self.rngs.setdefault(noise._key, np.random.default_rng(7))
        return np.flatnonzero(rng.random(users) < rate)


def households(noise: NoiseSource, users: int, rate: float) -> Ints:
    """One coin for two users."""
    coins = noise.words(-(-users // 2)) < np.uint64(rate * 2.0**64)
    return np.flatnonzero(np.repeat(coins, 2)[:users])


def larger_rate(noise: NoiseSource, users: int, rate: float) -> Ints:
    """A rate half as large again as was charged for."""
    return np.flatnonzero(noise.words(users) < np.uint64(1.5 * rate * 2.0**64))


DEFECTS: dict[str, tuple[Callable[[], Defect], str]] = {
    "everybody": (lambda: everybody, "rate"),
    "larger rate": (lambda: larger_rate, "rate"),
    "fixed size": (lambda: fixed_size, "sizes of batches"),
    "shuffled epochs": (Shuffled, "shares of users"),
    "once an epoch": (OnceAnEpoch, "shares of users"),
    "one batch": (lambda: one_batch, "one sum and the next"),
    "sticky": (Sticky, "one sum and the next"),
    "one coin for two": (lambda: households, "one user and the next"),
    "public seed": (PublicSeed, "one job and another"),
}
"""How a defect is made, and the statistic that it cannot pass."""


def let_in(monkeypatch: pytest.MonkeyPatch, defect: Defect) -> None:
    monkeypatch.setattr(
        NoiseSource, "poisson_sample", lambda self, users, rate: defect(self, users, rate)
    )


@pytest.mark.parametrize("name", DEFECTS)
def test_other_batches_are_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    defect, found = DEFECTS[name]
    let_in(monkeypatch, defect())
    one, other = taken_by_a_mechanism(), taken_by_a_mechanism()
    with pytest.raises(AssertionError, match=found):
        check(one, other, RATE)


@pytest.mark.parametrize("name", ["everybody", "fixed size", "shuffled epochs"])
def test_other_batches_at_a_client_are_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    defect, found = DEFECTS[name]
    let_in(monkeypatch, defect())
    one, other = (
        taken_at_a_client(client_of, monkeypatch, job_id) for job_id in ("5a" * 16, "5b" * 16)
    )
    with pytest.raises(AssertionError, match=found):
        check(one, other, RATE)
