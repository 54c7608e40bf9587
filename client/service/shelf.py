"""The catalogue as answers need it: positions, titles, categories, and the search over it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from client.service.index import Mask
from client.service.search import SearchIndex
from common.arrays import Ints
from common.catalogue import Catalogue
from common.errors import Code, DataError

__all__ = ["Shelf", "categories_of"]


class Shelf:
    """One version of the public catalogue. Built once, then only read.

    Attributes:
        item_ids: `[items]`.
        titles: `[items]`, empty where the catalogue has none.
        categories: `[items]`, several joined by `|`.
        version: of the catalogue.
        search: by words.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        blank = ("",) * len(catalogue)
        self.version = catalogue.version
        self.item_ids = catalogue.item_ids
        self.titles = catalogue.metadata.get("title", blank)
        self.categories = catalogue.metadata.get("category", blank)
        self.search = SearchIndex(catalogue)
        self._catalogue = catalogue
        self._beginnings: dict[tuple[str, int], bool] = {}
        self._position = {item: place for place, item in enumerate(catalogue.item_ids)}
        members: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(self.categories):
            for name in categories_of(text):
                members[name].append(place)
        self._members = {name: np.array(places) for name, places in members.items()}

    def __len__(self) -> int:
        return len(self.item_ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._position

    def begins_with(self, version: str, count: int) -> bool:
        """Whether the first `count` items are that version of the catalogue; hashed once."""
        asked = (version, count)
        if asked not in self._beginnings:
            self._beginnings[asked] = self._catalogue.begins_with(version, count)
        return self._beginnings[asked]

    def position(self, item_id: str, field: str = "item_id") -> int:
        """Where an item stands.

        Raises:
            DataError: `catalogue-mismatch`, it stands nowhere.
        """
        return int(self.positions([item_id], field)[0])

    def positions(self, item_ids: Iterable[str], field: str) -> Ints:
        """Where items stand, each once, in the order in which they were named last.

        Raises:
            DataError: `catalogue-mismatch`, one of them stands nowhere.
        """
        wanted = list(item_ids)
        found = self.known(wanted)
        unknown = [item for item in wanted if item not in self._position]
        if unknown:
            raise DataError(
                Code.CATALOGUE_MISMATCH,
                f"{len(unknown)} of the items are not in the catalogue, "
                f"the first is {unknown[0][:80]!r}.",
                where=field,
                remedy="Ask for items of the catalogue that the client was enrolled with.",
            )
        return found

    def known(self, item_ids: Iterable[str]) -> Ints:
        """The same; unknown ones are left out."""
        last_first = reversed(list(item_ids))
        places = dict.fromkeys(
            self._position[item] for item in last_first if item in self._position
        )
        return np.array(list(places)[::-1], dtype=np.int64)

    def mask(self, categories: Iterable[str], exclude: Iterable[str], field: str) -> Mask:
        """Items of any of the categories (of all, if there are none), less the excluded ones.

        Raises:
            DataError: `catalogue-mismatch`, no item has one of the categories.
        """
        wanted = list(categories)
        allowed = np.full(len(self), not wanted)
        for name in wanted:
            if name not in self._members:
                raise DataError(
                    Code.CATALOGUE_MISMATCH,
                    f"no item is in the category {name[:80]!r}.",
                    where=field,
                    remedy="Categories are those of the catalogue, letter by letter.",
                )
            allowed[self._members[name]] = True
        allowed[self.known(exclude)] = False
        return allowed


def categories_of(text: str) -> list[str]:
    """The categories that a text of the catalogue names, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split("|") if name.strip()))
