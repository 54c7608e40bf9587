"""The arrays of a model with a network: vectors of items, dense parameters, popularity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from common.errors import ArtifactError, Code
from common.privacy.inbound import ArraySpec

__all__ = [
    "DENSE",
    "FEATURES",
    "POPULARITY_ARRAY",
    "TABLE",
    "check_shared",
    "check_values",
    "shared_specs",
]

TABLE: Final = "item_table"
DENSE: Final = "dense"
POPULARITY_ARRAY: Final = "popularity"
FEATURES: Final = "features"
"""Public facts of the items; no release is in them."""
_LARGEST_COUNT: Final = 1e12


def shared_specs(n_items: int, rows: int, dim: int, width: int = 0) -> dict[str, ArraySpec]:
    """What a client demands of them.

    Args:
        n_items: size of the catalogue.
        rows: that the dense parameters take.
        dim: length of a vector.
        width: features of an item; 0 for a model without any.
    """
    features = {FEATURES: ArraySpec((n_items, width))} if width else {}
    return features | {
        TABLE: ArraySpec((n_items, dim)),
        DENSE: ArraySpec((rows, dim)),
        POPULARITY_ARRAY: ArraySpec((n_items,), max_abs=_LARGEST_COUNT, positive=True),
    }


def check_shared(arrays: Mapping[str, NDArray[Any]], rows: int, dim: int, width: int = 0) -> None:
    """Names, shapes and values, as a model needs them.

    Raises:
        ArtifactError: `artifact-invalid`.
    """
    known = TABLE in arrays and arrays[TABLE].ndim == 2
    n_items = arrays[TABLE].shape[0] if known else 0
    check_values(arrays, shared_specs(n_items, rows, dim, width))


def check_values(arrays: Mapping[str, NDArray[Any]], specs: Mapping[str, ArraySpec]) -> None:
    """Hold the arrays of a model to `specs`: names, shapes, finite, positive where they must be.

    Raises:
        ArtifactError: `artifact-invalid`.
    """
    if set(arrays) != set(specs):
        raise _invalid(f"arrays {', '.join(sorted(arrays))}.", "model")
    for name, spec in specs.items():
        array = arrays[name]
        if array.shape != spec.shape or 0 in array.shape:
            raise _invalid(f"shape {array.shape}, expected {spec.shape}.", name)
        if not np.isfinite(array).all():
            raise _invalid("not all values are finite.", name)
        if spec.positive and not (array > 0).all():
            raise _invalid("all values must be greater than 0.", name)


def _invalid(message: str, where: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_INVALID, message, where=where, remedy="Fetch the model again, or retrain."
    )
