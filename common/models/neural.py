"""A neural model: two towers and a head over vectors and features of items.

The personal state is what the user tower makes of a shopper's own events, refined on them where
the settings say so. It is computed where the events are, and sent nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from common.arrays import Floats, Histories, Ints
from common.config import Settings as BaseSettings
from common.models.networks.base import POPULARITY
from common.models.networks.packing import Packing
from common.models.networks.pooling import Pooling
from common.models.networks.towers import Loss, Towers
from common.models.shared_arrays import (
    DENSE,
    FEATURES,
    POPULARITY_ARRAY,
    TABLE,
    check_shared,
    shared_specs,
)
from common.models.weights import RatingUnits
from common.privacy.inbound import ArraySpec

__all__ = ["Neural", "NeuralModelSettings"]

_FARTHEST: Final = 4.0
"""Declared standard deviations from the declared mean; no rating counts as farther away."""
_AT_ONCE: Final = 1 << 24
"""Numbers in memory at a time, where users are scored."""
_USERS: Final = 256
_SQUARES: Final = 5
"""Matrices of a shopper that `ridge` has in memory at a time."""


class NeuralModelSettings(BaseSettings):
    """What a neural model is made of. Public."""

    loss: Loss = "implicit"
    """`implicit`: which items, by cross-entropy; `explicit`: how they are rated, by squared
    error, an event's weight taken for its rating. An event without one counts as rated at
    `rating_mean` where a shopper's vector is made, and is never what is looked for."""
    embedding_dim: int = Field(default=64, gt=1, le=512)
    """Length of the vectors."""
    feature_width: int = Field(default=0, ge=0, le=2048)
    """Features of an item, made of the catalogue's text and labels; 0 for none."""
    recent: int = Field(default=50, ge=1, le=65_536)
    """Latest events of a shopper that are read; where no times are known, take all."""
    pooling: Pooling = "mean"
    """How their vectors become one: `mean`, added up; `ridge`, the regression of matrix
    factorisation, close to what the subspace of tastes serves by. `implicit` only."""
    blocks: int = Field(default=1, ge=0, le=12)
    """Residual layers of the user tower."""
    head: int = Field(default=16, ge=0, le=256)
    """Width of the head; 0 for none."""
    share_head: bool = True
    """Whether the federation trains the head. Otherwise its last layer is a shopper's own, and
    needs `personal_steps`."""
    personal_steps: int = Field(default=0, ge=0, le=100)
    """Steps of descent that refine a shopper's vector on their own events."""
    personal_rate: float = Field(default=1.0, gt=0, le=1e3)
    """Length of each, in units of the gradient."""
    rating_mean: float = Field(default=3.5, ge=-1e6, le=1e6)
    """Public guess of the mean rating; `explicit` only, as is the next."""
    rating_scale: float = Field(default=1.0, ge=1e-6, le=1e6)
    """Public guess of a rating's standard deviation. A rating, or a prediction, that is farther
    than four of it from the mean counts as one that far."""

    @model_validator(mode="after")
    def _has_a_head_to_learn(self) -> Self:
        if not self.share_head and not (self.head and self.personal_steps):
            raise ValueError("a head that is not shared needs a width and personal_steps")
        return self

    @model_validator(mode="after")
    def _pools_what_it_reads(self) -> Self:
        if self.pooling == "ridge" and self.loss == "explicit":
            raise ValueError("pooling 'ridge' reads no ratings; with loss 'explicit' take 'mean'")
        return self

    @property
    def reads_weights(self) -> bool:
        """Whether weights of events are read, as ratings."""
        return self.loss == "explicit"

    @property
    def rating_units(self) -> RatingUnits:
        """What a score is in units of, where ratings are read."""
        return RatingUnits(self.rating_mean, self.rating_scale, _FARTHEST)

    @property
    def network(self) -> Towers:
        """The network, with the loss that it is trained by."""
        return Towers(
            dim=self.embedding_dim,
            width=self.feature_width,
            blocks=self.blocks,
            head=self.head,
            share_head=self.share_head,
            personal_steps=self.personal_steps,
            personal_rate=self.personal_rate,
            loss=self.loss,
            pooling=self.pooling,
        )

    @property
    def packing(self) -> Packing:
        """Where its dense parameters stand."""
        return Packing.of(self.network.initial(np.random.default_rng(0)), self.embedding_dim)

    def standardised(self, histories: Histories, own: Ints) -> NDArray[np.float32]:
        """Ratings of the items in `own` `[users, own]` in declared units; 0 for padding (-1).

        NaN for an event whose weight is not finite: it has no rating. A log may hold any other
        number; what is out of reach is moved to the edge, by a rule that everybody knows.
        """
        keys = histories.user_of_event * histories.n_items + histories.items
        users = np.arange(histories.n_users)[:, None] * histories.n_items
        present, ratings = own >= 0, np.zeros(own.shape, np.float32)
        weights = histories.weights[np.searchsorted(keys, (users + own)[present])]
        with np.errstate(over="ignore"):
            found = (weights - self.rating_mean) / self.rating_scale
        found = np.clip(found, -_FARTHEST, _FARTHEST)
        ratings[present] = np.where(np.isfinite(weights), found, np.nan)
        return ratings


@dataclass(frozen=True)
class Neural:
    """The shared half of the model; a function of releases and public facts.

    A shopper's vector x has behind it, where the head is not shared, that shopper's last layer.
    A shopper without events gets the popularity instead of a score.

    Attributes:
        item_table: vectors of the items, `[items, dim]` float32, without features.
        dense: the network's parameters, packed, `[rows, dim]` float32.
        popularity: `[items]`, positive.
        settings: what the network is.
        features: public, `[items, feature_width]` float32; None where that is 0.

    Raises:
        ArtifactError: `artifact-invalid`, an array has the wrong shape or bad values.
    """

    kind: ClassVar[str] = "neural"
    Settings: ClassVar[type[NeuralModelSettings]] = NeuralModelSettings

    item_table: NDArray[np.float32]
    dense: NDArray[np.float32]
    popularity: NDArray[np.float32]
    settings: NeuralModelSettings
    features: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check(self.arrays(), self.settings)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.item_table)

    @property
    def reads_weights(self) -> bool:
        """Whether weights of events are read, as ratings."""
        return self.settings.reads_weights

    @property
    def rating_units(self) -> RatingUnits:
        """What a score is in units of, where ratings are read."""
        return self.settings.rating_units

    @property
    def dim(self) -> int:
        """Length of what is personal of a shopper."""
        return self._network.personal_dim

    @cached_property
    def item_vectors(self) -> NDArray[np.float32]:
        """What the item tower makes of each item, `[items, embedding_dim]`."""
        return self._items.numpy()

    def fold_in(self, histories: Histories) -> Floats:
        """What is personal of each shopper, `[users, dim]`. Personal.

        Zero for a shopper without events, and for one whose vector is not finite. Alone and in
        a batch a vector agrees to rounding.
        """
        found = np.zeros((histories.n_users, self.dim))
        settings = self.settings
        width = self.n_items * max(1, settings.head) if settings.personal_steps else 1
        if settings.pooling == "ridge":
            width = max(width, _SQUARES * settings.embedding_dim**2)
        for users in _chunks(histories.n_users, width):
            found[users] = self._fold_in(histories.take(users))
        return found

    def scores(self, user_vectors: Floats) -> Floats:
        """Scores of all items, `[users, items]`; by popularity where the vector is zero."""
        found = self._scores(user_vectors)
        found[~user_vectors.any(axis=1)] = self.popularity
        return found

    def ratings(self, user_vectors: Floats) -> Floats:
        """Ratings that are expected of shoppers, `[users, items]`; `explicit` only.

        The mean where the vector is zero, and never farther from it than a rating counts.
        """
        found = self._scores(user_vectors)
        found[~user_vectors.any(axis=1)] = 0.0
        return self.rating_units.ratings(found)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Shared parameters by name, and the public features."""
        arrays = {TABLE: self.item_table, DENSE: self.dense, POPULARITY_ARRAY: self.popularity}
        return arrays if self.features is None else {**arrays, FEATURES: self.features}

    @staticmethod
    def specs(
        n_items: int,
        settings: NeuralModelSettings,
        arrays: Mapping[str, NDArray[Any]],  # noqa: ARG004 - the settings hold every size
    ) -> dict[str, ArraySpec]:
        """What a client demands of each array of a model that it is sent."""
        rows, dim = settings.packing.rows, settings.embedding_dim
        return shared_specs(n_items, rows, dim, settings.feature_width)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], settings: NeuralModelSettings
    ) -> Neural:
        """Rebuild a model.

        Raises:
            ArtifactError: `artifact-invalid`, names, shapes or values are wrong.
        """
        _check(arrays, settings)
        values = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        return cls(settings=settings, **values)

    def _fold_in(self, histories: Histories) -> Floats:
        longest = int(histories.lengths.max(initial=1))
        own = histories.recent(min(self.settings.recent, longest))
        rows = torch.from_numpy(np.maximum(own, 0))
        shared = self._items if self.settings.personal_steps else self._items[:0]
        with torch.no_grad():
            example = self._example(histories, own, len(shared))
            found = self._network.personal(
                self._parameters, self._items[rows], shared, example, gram=self._gram
            )
        vectors = found.numpy().astype(np.float64)
        vectors[(histories.lengths == 0) | ~np.isfinite(vectors).all(axis=1)] = 0.0
        return vectors

    def _example(self, histories: Histories, own: Ints, shared: int) -> dict[str, torch.Tensor]:
        """All own events are known; every other item is a rival."""
        present = torch.from_numpy(own >= 0)
        rival = np.ones((len(own), shared), dtype=np.bool_)
        if shared:
            rival[histories.user_of_event, histories.items] = False
        logarithms = self._log_popularity
        return {
            "known": present,
            "rival": torch.from_numpy(rival),
            "correction": torch.zeros(len(own)),
            "own_popularity": logarithms[torch.from_numpy(np.maximum(own, 0))] * present,
            "shared_popularity": logarithms[:shared].expand(len(own), -1),
            "rating": torch.from_numpy(self._ratings(histories, own)),
        }

    def _ratings(self, histories: Histories, own: Ints) -> NDArray[np.float32]:
        """Standardised; an event without one counts as rated at the mean."""
        if not self.reads_weights:
            return np.zeros(own.shape, np.float32)
        return np.nan_to_num(self.settings.standardised(histories, own))

    def _scores(self, user_vectors: Floats) -> Floats:
        found = np.zeros((len(user_vectors), self.n_items))
        vectors = torch.from_numpy(np.asarray(user_vectors, np.float32))
        bias = self._parameters[POPULARITY] * self._log_popularity
        with torch.no_grad():
            for users in _chunks(len(vectors), self.n_items * max(1, self.settings.head)):
                part = self._network.scores(self._parameters, vectors[users], self._items)
                found[users] = (part + bias).numpy()
        return found

    @cached_property
    def _network(self) -> Towers:
        return self.settings.network

    @cached_property
    def _parameters(self) -> dict[str, torch.Tensor]:
        named = self.settings.packing.unpack(np.array(self.dense))
        return {name: torch.from_numpy(value) for name, value in named.items()}

    @cached_property
    def _items(self) -> torch.Tensor:
        given = [self.item_table] if self.features is None else [self.item_table, self.features]
        with torch.no_grad():
            return self._network.items(self._parameters, torch.from_numpy(np.hstack(given)))

    @cached_property
    def _gram(self) -> torch.Tensor | None:
        """Of all items, where a shopper's vector needs it."""
        return self._network.gram(self._items) if self.settings.pooling == "ridge" else None

    @cached_property
    def _log_popularity(self) -> torch.Tensor:
        popularity = self.popularity.astype(np.float64)
        return torch.from_numpy(np.log(popularity / popularity.mean()).astype(np.float32))


def _chunks(users: int, width: int) -> Iterator[Ints]:
    """Users, so many at a time that `width` numbers of each fit."""
    at_once = max(1, min(_USERS, _AT_ONCE // width))
    for start in range(0, users, at_once):
        yield np.arange(start, min(start + at_once, users))


def _check(arrays: Mapping[str, NDArray[Any]], settings: NeuralModelSettings) -> None:
    check_shared(arrays, settings.packing.rows, settings.embedding_dim, settings.feature_width)
