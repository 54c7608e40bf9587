"""The hidden side of a marketplace: who likes what, when and where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from simulations.marketplace.settings import MarketplaceSettings
from simulations.marketplace.titles import ATTRIBUTES

__all__ = ["World", "build_world", "stream"]

_CENTRE, _ATTRIBUTE, _OWN = 0.8, 0.35, 0.5
"""Norms of what an item's vector is made of: its category, each attribute, itself."""
_FAVOURITES, _PERSONAL = 3, 0.8
"""Categories that a user is drawn to, and the norm of what is the user's alone."""


def stream(settings: MarketplaceSettings, *key: int) -> np.random.Generator:
    """The generator of one part of the marketplace; parts do not disturb each other."""
    return np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=key))


@dataclass(frozen=True)
class World:
    """Everything that is true and that no shop gets to see.

    Attributes:
        settings: what it was made of.
        category: of each item, `[items]`.
        attributes: word of each item in each attribute, `[items, attributes]`.
        noun: of each item within its category, `[items]`.
        item_vectors: `[items, taste_dims]`.
        tastes: of each user, `[users, taste_dims]`.
        log_appeal: of each item in each region before taste, `[regions, items]`.
        shop: of each user, `[users]`.
        peak: part of the year at which a category peaks, `[categories]`.
    """

    settings: MarketplaceSettings
    category: Ints
    attributes: Ints
    noun: Ints
    item_vectors: NDArray[np.float32]
    tastes: NDArray[np.float32]
    log_appeal: NDArray[np.float32]
    shop: Ints
    peak: Floats

    @cached_property
    def by_category(self) -> Ints:
        """Items sorted by category, `[items]`."""
        return np.argsort(self.category, kind="stable").astype(np.int64)

    @cached_property
    def bounds(self) -> Ints:
        """Category c owns `by_category[bounds[c]:bounds[c + 1]]`, `[categories + 1]`."""
        counts = np.bincount(self.category, minlength=self.settings.categories)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def region(self, users: Ints) -> Ints:
        """Region of each user."""
        return self.shop[users] % self.settings.regions

    def preference(self, users: Ints) -> NDArray[np.float32]:
        """Unnormalised odds of each item, in `by_category` order, `[len(users), items]`."""
        order = self.by_category
        odds: NDArray[np.float32] = self.tastes[users] @ self.item_vectors[order].T
        odds += self.log_appeal[:, order][self.region(users)]
        odds -= odds.max(axis=1, keepdims=True)
        np.exp(odds, out=odds)
        return odds

    def season(self, part_of_year: Floats) -> Floats:
        """Factor on each category's odds at each time, `[len(part_of_year), categories]`."""
        if self.settings.seasons == 0:
            return np.ones((len(part_of_year), self.settings.categories))
        angle = 2 * np.pi * (part_of_year[:, None] - self.peak[None, :])
        return np.exp(self.settings.season_strength * np.cos(angle))


def build_world(settings: MarketplaceSettings) -> World:
    """Draw catalogue, tastes and appeal.

    Args:
        settings: sizes, strengths and seed.

    Returns:
        The world; memory is users times taste_dims float32 and little else.
    """
    rng = stream(settings, 0)
    category = _categories(settings, rng)
    words = [rng.integers(0, len(options), settings.items) for options in ATTRIBUTES.values()]
    attributes = np.stack(words, axis=1).astype(np.int64)
    noun = rng.integers(0, 4, settings.items)
    centres = _directions(settings.categories, settings.taste_dims, rng)
    item_vectors = _item_vectors(settings, centres[category], attributes, rng)
    seasons = max(settings.seasons, 1)
    peak = rng.integers(0, seasons, settings.categories) / seasons
    region_taste = _directions(settings.regions, settings.taste_dims, rng)
    log_appeal = _log_appeal(settings, rng)
    shop = np.repeat(np.arange(len(settings.sizes), dtype=np.int64), settings.sizes)
    tastes = _tastes(settings, centres, region_taste[shop % settings.regions], stream(settings, 1))
    return World(settings, category, attributes, noun, item_vectors, tastes, log_appeal, shop, peak)


def _categories(settings: MarketplaceSettings, rng: np.random.Generator) -> Ints:
    """A category for each item: none empty, sizes uneven."""
    share = rng.dirichlet(np.full(settings.categories, 5.0))
    free = settings.items - settings.categories
    drawn = rng.choice(settings.categories, free, p=share)
    category = np.concatenate([np.arange(settings.categories), drawn])
    return rng.permutation(category).astype(np.int64)


def _directions(count: int, dims: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random unit vectors, `[count, dims]`."""
    return _unit(rng.standard_normal((count, dims), dtype=np.float32))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(norms, np.float32(1e-12))
    return unit


def _item_vectors(
    settings: MarketplaceSettings,
    centre: NDArray[np.float32],
    attributes: Ints,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Category, attributes and something of its own, scaled to norm 1."""
    vectors = _CENTRE * centre + _OWN * _directions(settings.items, settings.taste_dims, rng)
    for k, options in enumerate(ATTRIBUTES.values()):
        vectors += (
            _ATTRIBUTE * _directions(len(options), settings.taste_dims, rng)[attributes[:, k]]
        )
    return _unit(vectors)


def _log_appeal(settings: MarketplaceSettings, rng: np.random.Generator) -> NDArray[np.float32]:
    """Zipf over a random ranking, tilted in each region."""
    rank = rng.permutation(settings.items) + 1
    tilt = rng.standard_normal((settings.regions, settings.items))
    appeal = -settings.zipf_exponent * np.log(rank)[None, :] + settings.region_shift * tilt
    return appeal.astype(np.float32)


def _tastes(
    settings: MarketplaceSettings,
    centres: NDArray[np.float32],
    region_taste: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Favourite categories, the region's taste and the user's own, scaled to `taste_strength`."""
    tastes = settings.region_shift * region_taste
    favourites = rng.integers(0, settings.categories, (settings.users, _FAVOURITES))
    weights = rng.dirichlet(np.ones(_FAVOURITES), settings.users).astype(np.float32)
    for k in range(_FAVOURITES):
        tastes += weights[:, k, None] * centres[favourites[:, k]]
    tastes += _PERSONAL * _directions(settings.users, settings.taste_dims, rng)
    return np.float32(settings.taste_strength) * _unit(tastes)
