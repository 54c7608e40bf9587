"""Matrix factorisation: shared item vectors, personal vectors that never leave the client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories
from common.errors import ArtifactError, Code, InboundError
from common.models.fold_in import FoldIn, fold_in_users
from common.models.ridge import Spectrum
from common.privacy.inbound import ArraySpec

__all__ = ["PERSONAL_PARAMETERS", "SHARED_PARAMETERS", "FoldIn", "MatrixFactorisation"]

_LONGEST: Final = 512
"""Of a shopper's vector, as every solver has it; the service works with its square."""

SHARED_PARAMETERS: Final = (
    "item_embeddings",
    "item_bias",
    "popularity",
    "item_weight",
    "noise_variance",
)
"""About items: released, sent, stored with the model. `noise_variance` is optional."""

PERSONAL_PARAMETERS: Final = ("user_vectors",)
"""About shoppers: recomputed by `fold_in` on the client, in no message and no artefact."""


@dataclass(frozen=True)
class MatrixFactorisation:
    """The shared half of the model; a function of releases and public facts.

    Score of item i for a shopper with vector x: x·v_i + bias_i + mix log(popularity share_i),
    `mix` from the settings; a shopper without events gets the popularity instead.

    Attributes:
        item_embeddings: `[items, dim]` float32.
        item_bias: `[items]`, added to scores only: fold-in targets stay 0 and 1.
        popularity: `[items]`, positive.
        item_weight: `[items]`, positive; weight of an event on the item in fold-in.
        settings: fold-in and scoring.
        noise_variance: `[items]`, variance of the noise left in each coordinate of an
            embedding, or None when it is not modelled.

    Raises:
        ArtifactError: `artifact-invalid`, an array has the wrong shape or bad values.
    """

    kind: ClassVar[str] = "mf"
    Settings: ClassVar[type[FoldIn]] = FoldIn

    item_embeddings: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    popularity: NDArray[np.float32]
    item_weight: NDArray[np.float32]
    settings: FoldIn = field(default_factory=FoldIn)
    noise_variance: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check_embeddings(self.item_embeddings)
        for name, array in self.arrays().items():
            if name != "item_embeddings":
                _check_vector(name, array, self.n_items)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.item_embeddings)

    @property
    def dim(self) -> int:
        """Length of a shopper's vector."""
        return int(self.item_embeddings.shape[1])

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """The embeddings, `[items, dim]`."""
        return self.item_embeddings

    def fold_in(self, histories: Histories) -> Floats:
        """Vectors of shoppers from their own events alone, `[users, dim]`. Personal."""
        noise = self.noise_variance
        return fold_in_users(
            histories,
            self._embeddings,
            self.item_weight.astype(np.float64),
            self.settings,
            None if noise is None else noise.astype(np.float64),
            self._spectrum,
        )

    def scores(self, user_vectors: Floats) -> Floats:
        """Scores of all items, `[users, items]`; by popularity where the vector is zero."""
        popularity = self.popularity.astype(np.float64)
        scores: Floats = user_vectors @ self._embeddings.T
        scores += self.item_bias
        if self.settings.popularity_mix != 0.0:
            scores += self.settings.popularity_mix * np.log(popularity / popularity.mean())
        scores[~user_vectors.any(axis=1)] = popularity
        return scores

    @cached_property
    def _embeddings(self) -> Floats:
        """Widened once: users are scored one at a time where their scores are contributed."""
        return self.item_embeddings.astype(np.float64)

    @cached_property
    def _spectrum(self) -> Spectrum:
        return Spectrum.of(self._embeddings)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Shared parameters by name, for safetensors; the settings go to the manifest."""
        values = ((name, getattr(self, name)) for name in SHARED_PARAMETERS)
        return {name: value for name, value in values if value is not None}

    @staticmethod
    def specs(
        n_items: int, settings: FoldIn, arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, ArraySpec]:
        """What a receiver demands of each array; how long a vector is, the arrays say.

        Raises:
            InboundError: `inbound-array`, no embeddings of a length from 1 to 512.
        """
        del settings
        table = arrays.get("item_embeddings")
        shape = () if table is None else table.shape
        if len(shape) != 2 or not 1 <= shape[1] <= _LONGEST:
            raise InboundError(
                Code.INBOUND_ARRAY,
                f"of shape {shape}, no vectors of items of length 1 to {_LONGEST}.",
                where="inbound array 'item_embeddings'",
                remedy="The server is broken or hostile: nothing was kept.",
            )
        specs = MatrixFactorisation.specs_of(n_items, shape[1])
        if "noise_variance" in arrays:
            specs["noise_variance"] = ArraySpec((n_items,))
        return specs

    @staticmethod
    def specs_of(n_items: int, dim: int) -> dict[str, ArraySpec]:
        """The arrays that every such model has, for vectors of length `dim`."""
        return {
            "item_embeddings": ArraySpec((n_items, dim)),
            "item_bias": ArraySpec((n_items,)),
            "popularity": ArraySpec((n_items,), max_abs=1e12, positive=True),
            "item_weight": ArraySpec((n_items,), positive=True),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], settings: FoldIn
    ) -> MatrixFactorisation:
        """Rebuild a model from `arrays`.

        Raises:
            ArtifactError: `artifact-invalid`, names, shapes or values are wrong.
        """
        required = set(SHARED_PARAMETERS) - {"noise_variance"}
        if missing := required - set(arrays):
            raise _invalid(f"arrays are missing: {', '.join(sorted(missing))}.", "model")
        if unknown := set(arrays) - set(SHARED_PARAMETERS):
            raise _invalid(f"unknown arrays: {', '.join(sorted(unknown))}.", "model")
        values = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        return cls(settings=settings, **values)

    @classmethod
    def from_embeddings(
        cls, item_embeddings: NDArray[Any], popularity: NDArray[Any], settings: FoldIn
    ) -> MatrixFactorisation:
        """Make a model without bias and with equal weights of items."""
        ones = np.ones(len(item_embeddings), np.float32)
        embeddings = np.asarray(item_embeddings, np.float32)
        return cls(embeddings, 0 * ones, np.asarray(popularity, np.float32), ones, settings)


def _check_embeddings(array: NDArray[np.float32]) -> None:
    if array.ndim != 2 or 0 in array.shape:
        raise _invalid(f"shape {array.shape}, expected [items, dim].", "item_embeddings")
    if not np.isfinite(array).all():
        raise _invalid("not all values are finite.", "item_embeddings")


def _check_vector(name: str, array: NDArray[np.float32], n_items: int) -> None:
    if array.shape != (n_items,):
        raise _invalid(f"shape {array.shape}, expected ({n_items},).", name)
    if not np.isfinite(array).all():
        raise _invalid("not all values are finite.", name)
    if name in ("popularity", "item_weight") and not (array > 0).all():
        raise _invalid("all values must be greater than 0.", name)
    if name == "noise_variance" and not (array >= 0).all():
        raise _invalid("a variance cannot be negative.", name)


def _invalid(message: str, where: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_INVALID, message, where=where, remedy="Fetch the model again, or retrain."
    )
