"""Adding rows of integers to the rows of a total where they belong."""

from __future__ import annotations

import numpy as np

from common.arrays import Ints

__all__ = ["add_rows"]


def add_rows(total: Ints, rows: Ints, units: Ints) -> None:
    """Add each row of `units` to its row of `total`, in integers.

    Args:
        total: `[all rows, width]`.
        rows: `[entries]`, any order, any of them more than once.
        units: `[entries, width]`.
    """
    from scipy.sparse import csc_array  # heavy; not every process sums

    entries, everywhere = len(rows), len(total)
    if entries == 0:
        return
    if everywhere <= entries:  # cheaper than to find out which rows are touched
        touched, at = np.arange(everywhere), rows
    else:
        touched, at = np.unique(rows, return_inverse=True)
    ones = np.ones(entries, dtype=np.int64)
    select = csc_array((ones, at, np.arange(entries + 1)), shape=(len(touched), entries))
    added = np.asarray(select @ units)
    if everywhere <= entries:
        total += added
    else:
        total[touched] += added
