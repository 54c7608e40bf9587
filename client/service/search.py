"""Search over the catalogue: an inverted index of the words of titles, categories and ids."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import numpy as np

from common.arrays import Floats
from common.catalogue import Catalogue

__all__ = ["SearchIndex", "words_of"]

_WORD: Final = re.compile(r"\w+")
_TITLE, _OTHER = 1.0, 0.5
"""Weight of a word in the title, and in category or id."""
_LAST: Final = "\U0010ffff"
"""Behind everything that a word may go on with."""
_PREFIX: Final = 0.5
"""Weight of a word that only begins with what was typed."""


def words_of(text: str) -> list[str]:
    """Words without case, accents and compatibility forms."""
    if text.isascii():
        return _WORD.findall(text.lower())
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(char for char in plain if not unicodedata.combining(char)))


class SearchIndex:
    """Which items have a word, and how much it says.

    A word says the more the fewer items have it: log(1 + items / items with it). The last word
    of a query also finds words that begin with it, so that it can be searched as it is typed.
    Every word of the query has to be found.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._n_items = len(catalogue)
        postings: dict[str, dict[int, float]] = {}
        blank = ("",) * len(catalogue)
        titles = catalogue.metadata.get("title", blank)
        categories = catalogue.metadata.get("category", blank)
        for item, (title, category) in enumerate(zip(titles, categories, strict=True)):
            _add(postings, words_of(title), item, _TITLE)
            _add(postings, words_of(category), item, _OTHER)
            _add(postings, words_of(catalogue.item_ids[item]), item, _OTHER)
        self._words = sorted(postings)
        counts = np.array([len(postings[word]) for word in self._words], dtype=np.int64)
        self._bounds = np.concatenate([[0], np.cumsum(counts)])
        weights = [weight for word in self._words for weight in postings[word].values()]
        rarity = np.repeat(np.log1p(len(catalogue) / counts), counts)
        self._items = np.array([i for word in self._words for i in postings[word]], dtype=np.int64)
        self._said: Floats = np.array(weights) * rarity

    def scores(self, query: str) -> Floats:
        """How well each item fits, `[items]`; nan where a word of the query is missing."""
        words = words_of(query)
        total: Floats = np.zeros(self._n_items)
        for place, word in enumerate(words):
            total += self._one(word, begins=place == len(words) - 1)
        if not words:
            total[:] = np.nan
        return total

    def _one(self, word: str, *, begins: bool) -> Floats:
        """Of one word; nan where it is missing."""
        found: Floats = np.full(self._n_items, np.nan)
        start = bisect_left(self._words, word)
        exact = start < len(self._words) and self._words[start] == word
        if begins:
            end = bisect_left(self._words, word + _LAST, lo=start)
            self._take(found, start + exact, end, _PREFIX)
        if exact:
            self._take(found, start, start + 1, 1.0)
        return found

    def _take(self, found: Floats, start: int, end: int, weight: float) -> None:
        """What words from `start` to `end` say, where it is more than was said."""
        part = slice(self._bounds[start], self._bounds[end])
        np.fmax.at(found, self._items[part], weight * self._said[part])


def _add(
    postings: dict[str, dict[int, float]], words: Iterable[str], item: int, weight: float
) -> None:
    for word in words:
        items = postings.setdefault(word, {})
        items[item] = max(items.get(item, 0.0), weight)
