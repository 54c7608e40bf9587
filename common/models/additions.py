"""Models over a larger catalogue: rows of new items from features, everything else as it was.

The new items stand behind the old ones, so that row i stays row i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats
from common.errors import ArtifactError, Code
from common.models.base import Model
from common.models.content import ContentMap
from common.models.registry import model_from
from common.models.shared_arrays import DENSE, FEATURES, POPULARITY_ARRAY, TABLE

__all__ = ["EXTENDABLE", "NewItems", "not_extendable", "with_new_items"]

_How: TypeAlias = Literal["row", "popularity", "mean", "error", "features", "kept"]
_NETWORK: Final[Mapping[str, _How]] = {TABLE: "row", POPULARITY_ARRAY: "popularity", DENSE: "kept"}

EXTENDABLE: Final[Mapping[str, Mapping[str, _How]]] = {
    "mf": {
        "item_embeddings": "row",
        "popularity": "popularity",
        "item_bias": "mean",
        "item_weight": "mean",
        "noise_variance": "error",
    },
    "sequential": _NETWORK,
    "neural": {**_NETWORK, FEATURES: "features"},
    "transitions": {"item_context": "row", "item_next": "row", "popularity": "popularity"},
}
"""By kind of model, what a new item has in each array: a predicted `row` or `popularity`, the
`mean` of the old ones, the map's `error` as the variance of its noise, its own `features`; what
is `kept` is not about items."""


@dataclass(frozen=True, eq=False)
class NewItems:
    """What is known of a catalogue that has grown; public.

    Attributes:
        features: `[items, width]` of all its items, the new ones behind, for the map.
        trained: of how many items, the first ones, training made the rows.
        network: `[new items, feature_width]`, what a network itself reads of the new ones; None
            for a model that reads no features.
    """

    features: NDArray[np.float32]
    trained: int
    network: NDArray[np.float32] | None = None


def not_extendable(kind: str) -> ArtifactError:
    """What is raised of a kind of model that `EXTENDABLE` does not have."""
    return ArtifactError(
        Code.MODEL_KIND,
        f"to a model of kind {kind!r} no items can be added.",
        where="model",
        remedy=f"It can be done for {', '.join(EXTENDABLE)}; train anew for the others.",
    )


def with_new_items(model: Model, new: NewItems) -> Model:
    """The model over a larger catalogue.

    Guarantee:
        A function of the released arrays and of public features: post-processing, no budget.

    Args:
        model: released; over the first items of the larger catalogue.
        new: what is known of that.

    Raises:
        ArtifactError: `model-kind`, nobody has said what a new item is in such a model;
            `artifact-invalid`, features that do not fit it.
    """
    known = EXTENDABLE.get(model.kind)
    arrays = model.arrays()
    if known is None or not arrays.keys() <= known.keys():
        raise not_extendable(model.kind)
    rows = [array for name, array in arrays.items() if known[name] == "row"]
    made = _made(np.hstack(rows), model, new)
    columns = iter(np.split(made.rows, np.cumsum([part.shape[1] for part in rows])[:-1], axis=1))
    larger = {}
    for name, old in arrays.items():
        fresh = next(columns) if known[name] == "row" else made.of(known[name], old)
        larger[name] = old if fresh is None else np.concatenate([old, fresh.astype(np.float32)])
    return model_from(model.kind, model.settings, larger)


@dataclass(frozen=True, eq=False)
class _Made:
    """What the map says of the new items."""

    rows: Floats
    popularity: Floats
    error: float
    network: NDArray[np.float32] | None

    def of(self, how: _How, old: NDArray[Any]) -> NDArray[Any] | None:
        """Of one array, behind `old`; None if it is not about items."""
        count = len(self.popularity)
        if how == "popularity":
            return self.popularity
        if how == "mean":
            return np.full(count, old.mean())
        if how == "error":
            return np.full(count, self.error)
        return self.network if how == "features" else None


def _made(rows: NDArray[np.float32], model: Model, new: NewItems) -> _Made:
    if not 0 < new.trained <= model.n_items < len(new.features):
        raise _invalid(f"{len(new.features)} rows for more than {model.n_items} items.", "features")
    fresh = new.features[model.n_items :]
    if FEATURES in model.arrays() and (new.network is None or len(new.network) != len(fresh)):
        raise _invalid("the network reads features, and there are none of the new items.", FEATURES)
    learned = slice(0, new.trained)  # not of rows that are themselves predicted
    found = ContentMap.fit_rows(rows[learned], model.popularity[learned], new.features[learned])
    error = float(found.rows.error.mean())
    return _Made(found.embeddings(fresh), found.popularity(fresh), error, new.network)


def _invalid(message: str, where: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_INVALID,
        message,
        where=where,
        remedy="Give features of the larger catalogue, in its order.",
    )
