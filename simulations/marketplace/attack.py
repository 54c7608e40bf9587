"""Fake accounts: a push attack that lifts a few unpopular items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Floats, Ints
from simulations.marketplace.sessions import Block
from simulations.marketplace.world import World

__all__ = ["FakeAccounts", "draw_fake_accounts"]

_DAY: Final = 86_400


@dataclass(frozen=True)
class FakeAccounts:
    """What the attackers do.

    Attributes:
        block: their events; users are numbered after the real ones.
        shop: shop of each account, `[accounts]`.
        targets: the items that they push.
    """

    block: Block
    shop: Ints
    targets: Ints


def draw_fake_accounts(world: World, rng: np.random.Generator) -> FakeAccounts:
    """A bandwagon attack: each account takes popular items as cover, then all targets."""
    settings = world.settings
    shares = np.array(settings.sizes) / settings.users
    shop = rng.choice(len(shares), settings.fake_accounts, p=shares).astype(np.int64)
    appeal = np.exp(world.log_appeal.astype(np.float64)).mean(axis=0)
    targets = np.sort(np.argsort(appeal)[: settings.fake_targets]).astype(np.int64)
    appeal[targets] = 0.0
    cover = _distinct_rows(appeal, settings.fake_accounts, _cover_size(world), rng)
    items = np.concatenate([cover, np.tile(targets, (settings.fake_accounts, 1))], axis=1)
    return FakeAccounts(_burst(world, items, rng), shop, targets)


def _cover_size(world: World) -> int:
    wanted = round(world.settings.events_per_user)
    return min(wanted, world.settings.items - world.settings.fake_targets)


def _distinct_rows(weights: Floats, rows: int, size: int, rng: np.random.Generator) -> Ints:
    """Items drawn without replacement by weight in each row, `[rows, size]` (Gumbel top-k)."""
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    drawn = [np.argsort(-(log_weights + rng.gumbel(size=len(weights))))[:size] for _ in range(rows)]
    return np.array(drawn, dtype=np.int64).reshape(rows, size)


def _burst(world: World, items: Ints, rng: np.random.Generator) -> Block:
    """All accounts act within one week, an event or so a minute."""
    settings = world.settings
    accounts, size = items.shape
    week = int(rng.integers(0, max(settings.days - 7, 1))) * _DAY
    begin = week + rng.integers(0, 6 * _DAY, (accounts, 1))
    second = begin + np.cumsum(rng.integers(20, 90, (accounts, size)), axis=1)
    user = settings.users + np.repeat(np.arange(accounts, dtype=np.int64), size)
    return Block(user, items.ravel(), second.ravel().astype(np.int64))
