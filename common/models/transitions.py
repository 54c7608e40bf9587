"""What is bought after what: item vectors for what came before, and others for what comes next.

A factorised Markov chain (FPMC, Rendle et al. 2010; Fossil, He and McAuley 2016) whose context
is not trained: the personal state is the sequence itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from common.arrays import Floats, Histories
from common.config import Settings as BaseSettings
from common.models.recency import contexts_after
from common.models.shared_arrays import check_values
from common.privacy.inbound import ArraySpec

__all__ = ["Decay", "Transitions", "TransitionsSettings"]

CONTEXT: Final = "item_context"
NEXT: Final = "item_next"
POPULARITY: Final = "popularity"


Decay: TypeAlias = Annotated[float, Field(gt=0, le=1)]
"""γ: above 1 the oldest event would count most, and numbers would have no end."""


class TransitionsSettings(BaseSettings):
    """How the last events are read. Public."""

    context_dim: int = Field(default=64, gt=0, le=513)
    """Length of the vectors of what came before: popularity, and at most 512 tastes."""
    decays: tuple[Decay, ...] = Field(default=(0.8, 0.5), min_length=1, max_length=4)
    """γ: an event k before the last one counts γ^k; one context for each."""
    length: int = Field(default=15, ge=1, le=200)
    """Latest events that are read."""

    @property
    def dim(self) -> int:
        """Length of a shopper's vector."""
        return self.context_dim * len(self.decays)


@dataclass(frozen=True)
class Transitions:
    """The shared half of the model; a function of releases and public facts.

    Score of item i for a shopper whose last events make the context z: z·n_i. A shopper
    without events gets the popularity instead.

    Attributes:
        item_context: what an event says as one of the last ones, `[items, context_dim]`.
        item_next: after which contexts an item comes, `[items, dim]`.
        popularity: `[items]`, positive.
        settings: how the last events are read.

    Raises:
        ArtifactError: `artifact-invalid`, an array has the wrong shape or bad values.
    """

    kind: ClassVar[str] = "transitions"
    Settings: ClassVar[type[TransitionsSettings]] = TransitionsSettings

    item_context: NDArray[np.float32]
    item_next: NDArray[np.float32]
    popularity: NDArray[np.float32]
    settings: TransitionsSettings

    def __post_init__(self) -> None:
        check_values(self.arrays(), self.specs(len(self.popularity), self.settings, {}))

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.popularity)

    @property
    def dim(self) -> int:
        """Length of a shopper's vector."""
        return self.settings.dim

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """Items that come after the same ones lie close, `[items, dim]`."""
        return self.item_next

    def fold_in(self, histories: Histories) -> Floats:
        """What each shopper's last events are, `[users, dim]`; zero without events. Personal."""
        settings = self.settings
        return contexts_after(histories, self._context, settings.decays, settings.length)

    def scores(self, user_vectors: Floats) -> Floats:
        """Scores of all items, `[users, items]`; by popularity where the vector is zero."""
        scores: Floats = user_vectors @ self._next.T
        scores[~user_vectors.any(axis=1)] = self.popularity
        return scores

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Shared parameters by name."""
        return {
            CONTEXT: self.item_context,
            NEXT: self.item_next,
            POPULARITY: self.popularity,
        }

    @staticmethod
    def specs(
        n_items: int,
        settings: TransitionsSettings,
        arrays: Mapping[str, NDArray[Any]],  # noqa: ARG004 - the settings hold every size
    ) -> dict[str, ArraySpec]:
        """What a client demands of each array of a model that it is sent."""
        return {
            CONTEXT: ArraySpec((n_items, settings.context_dim)),
            NEXT: ArraySpec((n_items, settings.dim)),
            POPULARITY: ArraySpec((n_items,), max_abs=1e12, positive=True),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], settings: TransitionsSettings
    ) -> Transitions:
        """Rebuild a model.

        Raises:
            ArtifactError: `artifact-invalid`, names, shapes or values are wrong.
        """
        n_items = arrays[POPULARITY].size if POPULARITY in arrays else 0
        check_values(arrays, cls.specs(n_items, settings, {}))
        values = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        return cls(settings=settings, **values)

    @cached_property
    def _context(self) -> Floats:
        return self.item_context.astype(np.float64)

    @cached_property
    def _next(self) -> Floats:
        return self.item_next.astype(np.float64)
