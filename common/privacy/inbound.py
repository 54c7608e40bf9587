"""Arrays from the server, checked before anything private meets them.

One `inf` in an item's row would tell by a nan whether anybody holds that item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import Code, InboundError

__all__ = ["ArraySpec", "check_array", "check_arrays"]

_ORTHONORMAL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ArraySpec:
    """What a client demands of an array that the server sends.

    Attributes:
        shape: exact shape.
        max_abs: largest absolute value of an entry.
        orthonormal: columns are orthonormal (to 1e-3).
        positive: all entries are greater than 0.
        dtype: numpy name of the type on the wire.
    """

    shape: tuple[int, ...]
    max_abs: float = 1e6
    orthonormal: bool = False
    positive: bool = False
    dtype: str = "float32"


def check_arrays(
    arrays: Mapping[str, NDArray[Any]], specs: Mapping[str, ArraySpec]
) -> dict[str, NDArray[Any]]:
    """Check every array against its specification.

    Returns:
        The arrays, denormal numbers replaced by zero.

    Raises:
        InboundError: `inbound-array`, naming the array and the reason; also for an array
            that is missing or was not asked for.
    """
    for name in sorted(set(specs) - set(arrays)):
        raise _refuse(name, "is missing")
    for name in sorted(set(arrays) - set(specs)):
        raise _refuse(name, "was not asked for")
    return {name: check_array(name, arrays[name], spec) for name, spec in specs.items()}


def check_array(name: str, array: NDArray[Any], spec: ArraySpec) -> NDArray[Any]:
    """Check one array; see `check_arrays`."""
    if array.shape != spec.shape:
        raise _refuse(name, f"has shape {array.shape}, not {spec.shape}")
    if array.dtype != np.dtype(spec.dtype):
        raise _refuse(name, f"has type {array.dtype}, not {spec.dtype}")
    if not np.issubdtype(array.dtype, np.inexact):
        return _bounded(name, array, spec)
    if not np.all(np.isfinite(array)):
        raise _refuse(name, "has entries that are not finite")
    tiny = np.finfo(array.dtype).tiny
    flushed = np.where(np.abs(array) < tiny, array.dtype.type(0), array)
    return _bounded(name, flushed, spec)


def _bounded(name: str, array: NDArray[Any], spec: ArraySpec) -> NDArray[Any]:
    if array.size and max(abs(float(array.min())), abs(float(array.max()))) > spec.max_abs:
        raise _refuse(name, f"has entries beyond {spec.max_abs:g}")
    if spec.positive and not np.all(array > 0):
        raise _refuse(name, "has entries that are not positive")
    if spec.orthonormal:
        columns = array.astype(np.float64)
        gram = columns.T @ columns
        if not np.allclose(gram, np.eye(array.shape[1]), rtol=0, atol=_ORTHONORMAL_TOLERANCE):
            raise _refuse(name, "has columns that are not orthonormal")
    return array


def _refuse(name: str, reason: str) -> InboundError:
    return InboundError(
        Code.INBOUND_ARRAY,
        f"the array {reason}.",
        where=f"inbound array {name!r}",
        remedy="The server is broken or hostile: nothing was computed from it.",
    )
