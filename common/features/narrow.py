"""Features in fewer columns: a table that every client is sent should be small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats

__all__ = ["Narrowing", "narrowed"]


@dataclass(frozen=True, eq=False)
class Narrowing:
    """How wide features become narrow ones; learned of the items of one catalogue.

    Attributes:
        directions: `[columns, at most width]`; None where there are no more columns than that.
        scale: what every row is divided by.
        width: of the result.
    """

    directions: Floats | None
    scale: float
    width: int

    @classmethod
    def of(cls, values: NDArray[Any], width: int) -> Self:
        """Learned of `values` `[items, columns]`, public."""
        wide = np.asarray(values, dtype=np.float64)
        directions = None
        if wide.shape[1] > width:
            _, found = np.linalg.eigh(wide.T @ wide)
            strongest = found[:, ::-1][:, :width]
            largest = np.abs(strongest).argmax(axis=0)
            directions = strongest * np.sign(strongest[largest, np.arange(width)])
            wide = wide @ directions
        squares = np.square(wide).sum(axis=1)
        known = squares > 0
        return cls(directions, float(np.sqrt(squares[known].mean())) if known.any() else 1.0, width)

    def narrow(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Features of the same columns, of any items, `[items, width]`."""
        wide = np.asarray(values, dtype=np.float64)
        if self.directions is not None:
            wide = wide @ self.directions
        behind = ((0, 0), (0, self.width - wide.shape[1]))
        return np.pad(wide / self.scale, behind).astype(np.float32)


def narrowed(values: NDArray[Any], width: int) -> NDArray[np.float32]:
    """The strongest directions of `values`, or zeros behind where there are fewer columns.

    Rows keep their inner products as well as `width` columns can (Eckart and Young 1936), up
    to one factor for all of them, by which the mean square of a row that is not zero is 1.

    Args:
        values: `[items, columns]`, public.
        width: of the result.

    Returns:
        `[items, width]`.
    """
    return Narrowing.of(values, width).narrow(values)
