"""What every encoder of items gives, and how several stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats
from common.catalogue import Catalogue
from common.errors import Code, DataError

__all__ = ["ItemEncoder", "ItemFeatures", "side_by_side", "unit_rows"]

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Public features of the items of a catalogue.

    Attributes:
        values: `[items, width]` float32, in the order of the catalogue; finite.
        missing: items of the catalogue of which nothing is known: their rows are zero.
        unknown: items that a file had vectors of, and the catalogue lacks.

    Raises:
        DataError: `data-format`, the values are no table of finite numbers.
    """

    values: NDArray[np.float32]
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise _bad(f"shape {self.values.shape}, expected [items, width].")
        if not np.isfinite(self.values).all():
            row = int(np.argmin(np.isfinite(self.values).all(axis=1)))
            raise _bad(f"row {row} holds a value that is not finite.")

    @property
    def width(self) -> int:
        """Features of an item."""
        return int(self.values.shape[1])

    def summary(self) -> str:
        """One line for people: how many items have features, and which ones have none."""
        known = len(self.values) - len(self.missing)
        text = f"{known} of {len(self.values)} items have features, {self.width} each."
        for words, items in (
            ("Nothing is known of", self.missing),
            ("Not in the catalogue:", self.unknown),
        ):
            if items:
                more = ", …" if len(items) > _SHOWN else ""
                text += f" {words} {len(items)}: {', '.join(items[:_SHOWN])}{more}."
        return text


class ItemEncoder(Protocol):
    """Makes features of a catalogue.

    Guarantee:
        A function of the catalogue and of public settings or files. No event, no release and
        no random number goes in, so features are public and cost no budget.
    """

    def encode(self, catalogue: Catalogue) -> ItemFeatures:
        """Features of all items of `catalogue`.

        Raises:
            DataError: the catalogue has nothing that this encoder could read.
        """
        ...


def side_by_side(encoders: Sequence[ItemEncoder], catalogue: Catalogue) -> ItemFeatures:
    """The features of several encoders in one table, in their order.

    An item is missing if all of them miss it.

    Raises:
        DataError: `data-format`, no encoder was given; whatever an encoder raises.
    """
    if not encoders:
        raise _bad("no encoder was given.")
    parts = [encoder.encode(catalogue) for encoder in encoders]
    missing = set(parts[0].missing).intersection(*(part.missing for part in parts[1:]))
    return ItemFeatures(
        np.hstack([part.values for part in parts]),
        tuple(item for item in catalogue.item_ids if item in missing),
        tuple(sorted({item for part in parts for item in part.unknown})),
    )


def unit_rows(values: NDArray[Any]) -> NDArray[np.float32]:
    """Rows divided by their Euclidean norms, zero where that is zero, `[items, width]`."""
    wide = np.asarray(values, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: Floats = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return unit.astype(np.float32)


def _bad(message: str) -> DataError:
    return DataError(
        Code.DATA_FORMAT,
        message,
        where="item features",
        remedy="Features are one row of finite numbers for each item of the catalogue.",
    )
