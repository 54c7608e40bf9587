"""A synthetic marketplace: deterministic by seed, true preferences known.

Users have latent tastes, shaped by a few favourite categories and their region; items have
a category, attributes and a Zipf appeal that differs by region; categories have seasons;
events come in sessions, in order. Nothing here is private: no person stands behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Floats, Histories, Ints
from simulations.marketplace.attack import FakeAccounts, draw_fake_accounts
from simulations.marketplace.sessions import Block, draw_block
from simulations.marketplace.settings import (
    DEMO_SHOP_SIZES,
    MarketplaceSettings,
    demo_settings,
)
from simulations.marketplace.titles import product_frame
from simulations.marketplace.truth import expected_best, true_preference
from simulations.marketplace.world import World, build_world, stream

__all__ = ["DEMO_SHOP_SIZES", "Marketplace", "MarketplaceSettings", "demo_settings"]

_BLOCK_VALUES = 4_000_000
"""Users times items that are held at once; part of what the seed decides."""


class Marketplace:
    """Events, catalogue and truth of one synthetic marketplace.

    Args:
        settings: sizes, strengths and seed; equal settings give equal bytes on one machine
            (float32 products of another BLAS may move a draw in a million).
    """

    def __init__(self, settings: MarketplaceSettings) -> None:
        self.settings = settings

    @cached_property
    def world(self) -> World:
        """The hidden truth; drawn at first use."""
        return build_world(self.settings)

    @cached_property
    def catalogue(self) -> pd.DataFrame:
        """`item_id, title, category, brand, style, material, colour`, a row for each item."""
        return product_frame(self.world.category, self.world.attributes, self.world.noun)

    @property
    def shop_names(self) -> list[str]:
        """Names in column `shop`, in the order of `settings.sizes`."""
        digits = len(str(len(self.settings.sizes)))
        return [f"shop-{k + 1:0{digits}d}" for k in range(len(self.settings.sizes))]

    @property
    def region_names(self) -> list[str]:
        """Names in column `region`."""
        return [f"region-{k + 1}" for k in range(self.settings.regions)]

    @property
    def fake_targets(self) -> list[str]:
        """Ids of the items that fake accounts push; empty when there are no fake accounts."""
        return [] if self._fake is None else [str(item) for item in self._fake.targets]

    def events(self) -> pd.DataFrame:
        """All events, by user and then by time.

        Returns:
            `user_id, item_id, weight, datetime, shop, region`; with fake accounts also
            `fake`. The first four columns are an event table: string ids, UTC times. A user's
            id is their position as a decimal number. About 50 bytes for an event, 1 GB for a
            million users.
        """
        frames = list(self.iter_events())
        return pd.concat(frames, ignore_index=True)

    def iter_events(self) -> Iterator[pd.DataFrame]:
        """The same frame in blocks of users, for what does not fit in memory."""
        users = self.settings.users
        size = max(1, _BLOCK_VALUES // self.settings.items)
        for number, start in enumerate(range(0, users, size)):
            block_users = np.arange(start, min(start + size, users), dtype=np.int64)
            block = draw_block(self.world, block_users, stream(self.settings, 2, number))
            yield self._frame(block, self.world.shop[block.user], fake=False)
        if self._fake is not None:
            shop = self._fake.shop[self._fake.block.user - users]
            yield self._frame(self._fake.block, shop, fake=True)

    def true_preference(self, users: Ints, items: Ints | None = None) -> Floats:
        """Probability that a real user's next draw is an item, mean over the year.

        Args:
            users: positions, `int(user_id)`, each less than `settings.users`.
            items: positions in the catalogue, None for all in order.

        Returns:
            `[len(users), len(items)]`; over all items, rows sum to 1. Memory is
            three times the full matrix of these users: ask for some thousands at a time.
        """
        chances = true_preference(self.world, users)
        return chances if items is None else chances[:, items]

    def expected_best(self, users: Ints, top_k: int, seen: Histories | None = None) -> Floats:
        """Chance that the next draw is in the best possible list, `[len(users)]`.

        Args:
            users: positions.
            top_k: length of the list.
            seen: rows of the same users whose items must not be recommended, None for none.
        """
        return expected_best(self.true_preference(users), top_k, seen)

    def regret(self, users: Ints, lists: Ints, seen: Histories | None = None) -> Floats:
        """What recommended lists lose against the best possible ones, `[len(users)]`.

        Args:
            users: positions.
            lists: positions of recommended items, `[len(users), top_k]`, distinct within a row.
            seen: as in `expected_best`; the lists must not contain such items.
        """
        chances = self.true_preference(users)
        got: Floats = np.take_along_axis(chances, lists, axis=1).sum(axis=1)
        return expected_best(chances, lists.shape[1], seen) - got

    @cached_property
    def _fake(self) -> FakeAccounts | None:
        if self.settings.fake_accounts == 0:
            return None
        return draw_fake_accounts(self.world, stream(self.settings, 3))

    @cached_property
    def _names(self) -> pd.api.extensions.ExtensionArray:
        """The ids: decimal numbers as strings, accounts and items from 0."""
        count = max(self.settings.users + self.settings.fake_accounts, self.settings.items)
        return pd.Series(np.arange(count)).astype("str").array

    def _frame(self, block: Block, shop: Ints, *, fake: bool) -> pd.DataFrame:
        start = np.datetime64(self.settings.start, "us")
        times = pd.Series(start + block.second.astype("timedelta64[s]"))
        columns: dict[str, Any] = {
            "user_id": self._names.take(block.user),
            "item_id": self._names.take(block.item),
            "weight": np.ones(len(block.user)),
            "datetime": times.dt.tz_localize("UTC"),
            "shop": pd.Categorical.from_codes(shop, pd.Index(self.shop_names)),
            "region": pd.Categorical.from_codes(
                shop % self.settings.regions, pd.Index(self.region_names)
            ),
        }
        if self.settings.fake_accounts:
            columns["fake"] = np.full(len(block.user), fake)
        return pd.DataFrame(columns)
