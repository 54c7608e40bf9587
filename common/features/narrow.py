"""Features in fewer columns: a table that every client is sent should be small."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["narrowed"]


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
    wide = np.asarray(values, dtype=np.float64)
    if wide.shape[1] > width:
        _, directions = np.linalg.eigh(wide.T @ wide)
        strongest = directions[:, ::-1][:, :width]
        largest = np.abs(strongest).argmax(axis=0)
        wide = wide @ (strongest * np.sign(strongest[largest, np.arange(width)]))
    squares = np.square(wide).sum(axis=1)
    known = squares > 0
    scale = np.sqrt(squares[known].mean()) if known.any() else 1.0
    return np.pad(wide / scale, ((0, 0), (0, width - wide.shape[1]))).astype(np.float32)
