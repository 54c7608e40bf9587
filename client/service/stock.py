"""The shop's own data as answers need them: catalogue, and which items each shopper has had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from client.data_files import EVENTS, SEALED, stamp_of
from client.service.recorded import Rating
from client.service.reloading import Reloading
from client.service.shelf import Shelf
from client.store import CLIENT_TOML, ClientSettings, ClientStore, forget_opened
from common.arrays import Floats, Histories, Ints

__all__ = ["Stock", "stock_of"]

_NONE: Final[Mapping[str, Rating]] = MappingProxyType({})


@dataclass(frozen=True)
class Stock:
    """One state of a client's folder. Sensitive.

    Attributes:
        store: the log, as it was imported.
        shelf: the catalogue.
    """

    store: ClientStore
    shelf: Shelf

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.store.user_ids)}

    def in_log(self, user_id: str) -> Ints:
        """Positions of a shopper's items in the log, the oldest first; none for a stranger."""
        row = self._rows.get(user_id)
        if row is None:
            return np.zeros(0, dtype=np.int64)
        return self.store.histories.sequence_of(row)

    def history(
        self, *parts: Iterable[int], user_id: str = "", recorded: Mapping[str, Rating] = _NONE
    ) -> Histories:
        """One shopper's history of positions, each item once.

        An item's weight is the shopper's latest rating, of the log or recorded, and NaN where
        there is none: what a context names comes without. It is what the log will have once the
        recorded events are in it. Which models get to see weights is `common.models.weights`'.

        Args:
            parts: in the order of time, and so within each; an item's place is its last one.
            user_id: whose ratings; empty for nobody's.
            recorded: ratings of items that are in `parts`, or in no catalogue.
        """
        met = np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])
        items, before_last = np.unique(met[::-1], return_index=True)
        order = np.argsort(np.argsort(-before_last))
        bounds = np.array([0, len(items)], dtype=np.int64)
        ratings = self._ratings(user_id, items, recorded)
        return Histories(bounds, items, ratings, len(self.shelf), order)

    def _ratings(self, user_id: str, items: Ints, recorded: Mapping[str, Rating]) -> Floats:
        """A shopper's latest ratings of `items`, increasing; NaN for none, `[items]`.

        Of one moment the log's: there an import leaves it as it is.
        """
        ratings, times = self._logged(user_id, items)
        for item_id, rating in recorded.items():
            if item_id not in self.shelf:
                continue
            place = np.searchsorted(items, self.shelf.position(item_id))
            if rating.microseconds > times[place]:
                ratings[place] = rating.value
        return ratings

    def _logged(self, user_id: str, items: Ints) -> tuple[Floats, Ints]:
        """Ratings in the log of `items`, and their times, -1 for none, `[items]` each."""
        ratings: Floats = np.full(len(items), np.nan)
        times: Ints = np.full(len(items), -1, dtype=np.int64)
        row = self._rows.get(user_id)
        if row is not None:
            rated, own = self.store.rated, slice(*self.store.rated.indptr[row : row + 2])
            asked = np.isin(rated.items[own], items)
            places = np.searchsorted(items, rated.items[own][asked])
            ratings[places] = rated.weights[own][asked]
            times[places] = self.store.rated_at[own][asked]
        return ratings, times


def stock_of(folder: Path) -> Reloading[Stock]:
    """The stock in a client's folder, read again when an import or a new catalogue replaced it."""
    shelves: list[Shelf] = []
    where = folder / ClientSettings.load_toml(folder / CLIENT_TOML).catalogue
    names = (CLIENT_TOML, EVENTS, f"{EVENTS}{SEALED}")
    files = [*(folder / name for name in names), where]

    def load() -> Stock:
        store = ClientStore.open(folder)
        forget_opened()  # a service runs for months, and every import makes another store
        if not shelves or shelves[0].version != store.catalogue.version:
            shelves[:] = [Shelf(store.catalogue)]
        stock = Stock(store, shelves[0])
        stock.in_log("")  # before the first call waits for it
        return stock

    return Reloading(lambda: tuple(stamp_of(path) for path in files), load)
