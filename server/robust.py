"""What several clients returned, combined so that a few of them cannot spoil it.

Clients count alike: a weight by declared population would be a lever for whoever declares most.
The arithmetic is Flower's, by its own functions where it has them apart from its round loop:
`select_multikrum` and `trim_mean`. Its median is numpy's, as here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.serverapp.strategy.fedtrimmedavg import trim_mean
from flwr.serverapp.strategy.multikrum import select_multikrum
from numpy.typing import NDArray

from common.arrays import Floats
from common.solvers.aggregation import Aggregation

__all__ = ["robust_average"]

Update: TypeAlias = Mapping[str, NDArray[Any]]
"""What one client returned, by name."""
_BLOCK: Final = 1 << 20
"""Entries of each client that are looked at together."""


def robust_average(rule: Aggregation, updates: Sequence[Update]) -> dict[str, Floats]:
    """Combine by one of the robust rules.

    Args:
        rule: `krum`, `multi-krum`, `median` or `trimmed-mean`, and how many may be Byzantine.
        updates: of at least `rule.least_clients` clients, of the same names and shapes.

    Returns:
        By name, in float64. Coordinate-wise rules lie between honest clients' values in every
        entry; Krum's are one client's arrays, or the plain mean of several clients'.
    """
    if rule.aggregation == "median":
        return _by_entry(_median, updates)
    if rule.aggregation == "trimmed-mean":
        # a quarter above, so that the count that Flower rounds down is not one too few
        cut = (rule.byzantine + 0.25) / len(updates)
        return _by_entry(partial(trim_mean, cut_fraction=cut), updates)
    count = 1
    if rule.aggregation == "multi-krum":
        most = len(updates) - rule.byzantine - 2
        count = most if rule.averaged is None else min(rule.averaged, most)
    near = _nearest(updates, rule.byzantine, count)
    return _by_entry(_mean, near)


def _median(block: Floats) -> Floats:
    return np.asarray(np.median(block, axis=0), dtype=np.float64)


def _mean(block: Floats) -> Floats:
    return np.asarray(np.mean(block, axis=0), dtype=np.float64)


def _nearest(updates: Sequence[Update], byzantine: int, count: int) -> list[Update]:
    """The `count` clients of the lowest Krum scores, in their order (Blanchard et al. 2017).

    Distances are computed as |x|² + |y|² - 2xy: from the median, which nobody can move far,
    so that they keep their digits whatever the size of a state.
    """
    centre = _by_entry(_median, updates)
    contents = [
        RecordDict(
            {"update": ArrayRecord({name: Array(np.subtract(update[name], centre[name]))
                                    for name in centre})}
        )
        for update in updates
    ]  # fmt: skip
    chosen = {id(content) for content in select_multikrum(contents, byzantine, count)}
    return [
        update for update, content in zip(updates, contents, strict=True) if id(content) in chosen
    ]


def _by_entry(rule: Callable[[Floats], Floats], updates: Sequence[Update]) -> dict[str, Floats]:
    """`[clients, entries]` to `[entries]`, in blocks of every array."""
    return {
        name: _array_by_entry(rule, [update[name] for update in updates]) for name in updates[0]
    }


def _array_by_entry(rule: Callable[[Floats], Floats], arrays: Sequence[NDArray[Any]]) -> Floats:
    flat = [array.reshape(-1) for array in arrays]
    found = np.empty(flat[0].size)
    for start in range(0, found.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = rule(np.stack([array[part] for array in flat]).astype(np.float64))
    return found.reshape(arrays[0].shape)
