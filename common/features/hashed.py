"""Titles and labels as hashed features: no vocabulary, no download, the same everywhere.

Every word, run of words, run of characters and label is hashed to a column and a sign
(Weinberger et al. 2009, section 2), so that the width is fixed whatever the catalogue holds and
two tokens that meet in a column cancel as often as they add.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from common.catalogue import Catalogue
from common.config import Settings
from common.errors import Code, DataError
from common.features.base import ItemFeatures, unit_rows

__all__ = ["HashedEncoder", "HashedSettings", "split_labels"]

_KEY: Final = b"hushrec-item-features/1"
_WORD: Final = re.compile(r"\w+")
_CACHED_TOKENS: Final = 1 << 20
_SEPARATOR: Final = "\x1f"
"""Between the kind of a token and its text; no word and no label holds it."""


class HashedSettings(Settings):
    """Which columns are hashed, and how. Public."""

    texts: tuple[str, ...] = ("title",)
    """Columns of running text; those that a catalogue lacks are passed over."""
    labels: tuple[str, ...] = ("category", "attributes", "brand")
    """Columns of labels, several joined by `|`; those that a catalogue lacks are passed over."""
    text_width: int = Field(default=512, ge=0, le=1 << 20)
    """Columns of the features of text; 0 leaves text out."""
    label_width: int = Field(default=1024, ge=0, le=1 << 20)
    """Columns of the features of labels; 0 leaves labels out."""
    longest_words: int = Field(default=2, ge=0, le=5)
    """Runs of up to so many words are tokens; 0 for none."""
    shortest_characters: int = Field(default=3, ge=1, le=10)
    """Runs of at least so many characters within a word, its two ends included, are tokens."""
    longest_characters: int = Field(default=4, ge=0, le=10)
    """And of at most so many; 0 for none."""
    label_pairs: bool = True
    """Two labels of one item are a token besides each of them."""
    text_weight: float = Field(default=1.0, ge=0, le=1e3)
    """Norm of the part of text in an item that has any."""
    label_weight: float = Field(default=1.0, ge=0, le=1e3)
    """Norm of the part of labels in an item that has any."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.text_width + self.label_width == 0:
            raise ValueError("text_width and label_width are both 0")
        if 0 < self.longest_characters < self.shortest_characters:
            raise ValueError("longest_characters is below shortest_characters")
        return self


class HashedEncoder:
    """Hashed text and labels; an `ItemEncoder`.

    Guarantee:
        An item's row is a function of that item's metadata and the settings, and of nothing
        else: not of other items, of their order, of any event, process or machine. Public, so
        it costs no budget; a new item gets its row without a look at the old ones.

    Args:
        settings: columns, widths and tokens.
    """

    def __init__(self, settings: HashedSettings | None = None) -> None:
        self.settings = HashedSettings() if settings is None else settings

    @property
    def width(self) -> int:
        """Features of an item."""
        return self.settings.text_width + self.settings.label_width

    def encode(self, catalogue: Catalogue) -> ItemFeatures:
        """Features of all items, `[items, text_width + label_width]`.

        Raises:
            DataError: `catalogue-invalid`, none of the columns is in the catalogue.
        """
        settings = self.settings
        texts = _columns(catalogue, settings.texts)
        labels = _columns(catalogue, settings.labels)
        if not texts and not labels:
            raise DataError(
                Code.CATALOGUE_INVALID,
                "nothing to make features of: the columns are "
                f"{', '.join(catalogue.metadata) or 'none'}, wanted are "
                f"{', '.join((*settings.texts, *settings.labels))}.",
                where="catalogue",
                remedy="Take a product file with titles or categories, or name its columns.",
            )
        count = len(catalogue)
        text = _hashed(texts, count, settings.text_width, self._text_tokens)
        label = _hashed(labels, count, settings.label_width, self._label_tokens)
        bare = np.flatnonzero(~(text.any(axis=1) | label.any(axis=1)))
        values = np.hstack([text * settings.text_weight, label * settings.label_weight])
        missing = tuple(catalogue.item_ids[row] for row in bare)
        return ItemFeatures(values.astype(np.float32), missing)

    def _text_tokens(self, text: str) -> Iterator[str]:
        words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        for length in range(1, self.settings.longest_words + 1):
            for start in range(len(words) - length + 1):
                yield _SEPARATOR.join(["words", *words[start : start + length]])
        for length in range(
            self.settings.shortest_characters, self.settings.longest_characters + 1
        ):
            for word in words:
                ended = f"<{word}>"
                for start in range(len(ended) - length + 1):
                    yield f"characters{_SEPARATOR}{ended[start : start + length]}"

    def _label_tokens(self, text: str) -> Iterator[str]:
        labels = sorted(set(split_labels(text)))
        for place, label in enumerate(labels):
            yield f"label{_SEPARATOR}{label}"
            if self.settings.label_pairs:
                for other in labels[place + 1 :]:
                    yield _SEPARATOR.join(["labels", label, other])


def split_labels(text: str) -> tuple[str, ...]:
    """The labels that a cell of a catalogue holds, joined by `|`; empty ones are none."""
    parts = (unicodedata.normalize("NFKC", part).casefold().strip() for part in text.split("|"))
    return tuple(part.replace(_SEPARATOR, " ") for part in parts if part)


def _columns(catalogue: Catalogue, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {name: catalogue.metadata[name] for name in names if name in catalogue.metadata}


def _hashed(
    columns: dict[str, tuple[str, ...]],
    count: int,
    width: int,
    tokens: Callable[[str], Iterator[str]],
) -> NDArray[np.float32]:
    """Signed sums of √count of each token, rows of norm 1 or 0, `[count, width]`."""
    sums = np.zeros((count, width))
    if width == 0:
        return unit_rows(sums)
    for name, cells in columns.items():
        for row, cell in enumerate(cells):
            for token, times in Counter(tokens(cell)).items():
                place, sign = _column_and_sign(f"{name}{_SEPARATOR}{token}", width)
                sums[row, place] += sign * times**0.5
    return unit_rows(sums)


@lru_cache(maxsize=_CACHED_TOKENS)
def _column_and_sign(token: str, width: int) -> tuple[int, float]:
    """By keyed BLAKE2b: Python's own hash differs from process to process."""
    digest = hashlib.blake2b(token.encode(), digest_size=9, key=_KEY).digest()
    return int.from_bytes(digest[:8], "little") % width, 1.0 if digest[8] & 1 else -1.0
