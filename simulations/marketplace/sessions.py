"""Who comes when, and what lands in the basket: one block of users at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from simulations.marketplace.settings import MarketplaceSettings
from simulations.marketplace.world import World

__all__ = ["Block", "draw_block"]

_ACTIVITY_SHAPE: Final = 1.2
"""Shape of the gamma distribution of activity: a few users do much, most do little."""
_PAUSE_SECONDS: Final = 150.0
"""Mean time between two events of a session."""
_SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True)
class Block:
    """Events of a block of users, by user and then by time.

    Attributes:
        user: `[events]`.
        item: `[events]`, distinct within a user.
        second: since the start of the marketplace, strictly increasing within a user.
    """

    user: Ints
    item: Ints
    second: Ints


def draw_block(world: World, users: Ints, rng: np.random.Generator) -> Block:
    """Draw the whole history of each of `users`.

    Time is `len(users)` times items; memory about 16 bytes for each of these.
    """
    settings = world.settings
    counts = _activity(settings, len(users), rng)
    row = np.repeat(np.arange(len(users), dtype=np.int64), counts)
    session = _sessions(settings, row, counts, rng)
    second = _times(settings, row, session, rng)
    odds = np.cumsum(world.preference(users), axis=1, dtype=np.float64)
    odds /= odds[:, -1:]
    category = _draw_categories(world, odds, row, session, second, rng)
    item = _draw_items(world, odds, row, category, rng)
    return _first_time_only(Block(users[row], item, second), settings.items)


def _activity(settings: MarketplaceSettings, users: int, rng: np.random.Generator) -> Ints:
    """Draws of each user: gamma-Poisson above the minimum."""
    more = max(settings.events_per_user - settings.min_events, 0.0)
    rate = rng.gamma(_ACTIVITY_SHAPE, more / _ACTIVITY_SHAPE, users)
    return np.minimum(settings.min_events + rng.poisson(rate), 4 * settings.items).astype(np.int64)


def _sessions(
    settings: MarketplaceSettings, row: Ints, counts: Ints, rng: np.random.Generator
) -> Ints:
    """Number of the session of each event within its user, not decreasing."""
    sessions = np.ceil(counts / settings.session_length)
    session = np.floor(rng.random(len(row)) * sessions[row]).astype(np.int64)
    return session[np.lexsort((session, row))]


def _times(
    settings: MarketplaceSettings, row: Ints, session: Ints, rng: np.random.Generator
) -> Ints:
    """Second of each event: sessions lie in slots of the user's time, events minutes apart."""
    new = _starts(row, session)
    opens = np.flatnonzero(new)
    visit = np.cumsum(new) - 1
    joined = (0.75 * rng.random(row[-1] + 1))[row[opens]]
    slots = np.maximum.reduceat(session, np.flatnonzero(_starts(row))) + 1
    position = (session[opens] + 0.8 * rng.random(len(opens))) / slots[row[opens]]
    begin = (joined + (1 - joined) * position) * settings.days * _SECONDS_PER_DAY
    pause = np.where(new, 0, 1 + rng.exponential(_PAUSE_SECONDS, len(row)).astype(np.int64))
    elapsed = np.cumsum(pause)
    second = begin.astype(np.int64)[visit] + elapsed - elapsed[opens][visit]
    return _strictly_increasing(row, second)


def _strictly_increasing(row: Ints, second: Ints) -> Ints:
    """Push an event that is not later than the one before it to just after it."""
    index = np.arange(len(row), dtype=np.int64)
    apart = row * (2 * int(second.max()) + len(row) + 1)
    later: Ints = np.maximum.accumulate(second - index + apart) + index - apart
    return later


def _starts(*keys: Ints) -> NDArray[np.bool_]:
    """True where any key differs from the entry before."""
    new = np.ones(len(keys[0]), dtype=bool)
    new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return new


def _draw_categories(
    world: World,
    odds: Floats,
    row: Ints,
    session: Ints,
    second: Ints,
    rng: np.random.Generator,
) -> Ints:
    """Category of each event by taste and season; a session tends to stay in one."""
    mass = np.diff(odds[:, world.bounds[1:] - 1], axis=1, prepend=0.0)
    part_of_year = second / (365 * _SECONDS_PER_DAY)
    cumulative = np.cumsum(mass[row] * world.season(part_of_year), axis=1)
    target = rng.random(len(row)) * cumulative[:, -1]
    category = (cumulative <= target[:, None]).sum(axis=1)
    fresh = _starts(row, session) | (rng.random(len(row)) >= world.settings.stay_in_category)
    source = np.maximum.accumulate(np.where(fresh, np.arange(len(row)), 0))
    chosen: Ints = np.minimum(category, mass.shape[1] - 1)[source]
    return chosen


def _draw_items(
    world: World, odds: Floats, row: Ints, category: Ints, rng: np.random.Generator
) -> Ints:
    """Item of each event within its category, by one search in all rows laid end to end."""
    first, stop = world.bounds[category], world.bounds[category + 1]
    low = np.where(first > 0, odds[row, np.maximum(first, 1) - 1], 0.0)
    high = odds[row, stop - 1]
    target = low + rng.random(len(row)) * (high - low)
    flat = (odds + np.arange(len(odds))[:, None]).ravel()
    position = np.searchsorted(flat, target + row, side="right") - row * odds.shape[1]
    drawn: Ints = world.by_category[np.clip(position, first, stop - 1)]
    return drawn


def _first_time_only(block: Block, n_items: int) -> Block:
    """Only the first event of each user with each item, order kept."""
    _, first = np.unique(block.user * n_items + block.item, return_index=True)
    keep = np.sort(first)
    return Block(block.user[keep], block.item[keep], block.second[keep])
