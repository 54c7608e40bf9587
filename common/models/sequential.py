"""A sequential model: a shopper's vector is what a network makes of their latest events in order.

The personal state is the sequence itself; no vector is trained for anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from common.arrays import Floats, Histories
from common.config import Settings as BaseSettings
from common.models.networks.attention import Attention
from common.models.networks.next_item import NextItem, SequenceNetwork
from common.models.networks.packing import Packing
from common.models.networks.recency import Recency
from common.models.networks.recurrent import Recurrent
from common.models.shared_arrays import DENSE, POPULARITY_ARRAY, TABLE, check_shared, shared_specs
from common.models.transitions import Decay
from common.privacy.inbound import ArraySpec

__all__ = ["Sequential", "SequentialModelSettings"]

_BATCH: Final = 256
_RECENCY_POPULARITY: Final = 0.3
"""Found without noise on validation events of MovieLens-1M; the start has most of it already."""


class SequentialModelSettings(BaseSettings):
    """What a sequential model is made of. Public."""

    network: Literal["attention", "gru", "recency"] = "attention"
    """`attention`: SASRec; `gru`: a gated recurrent unit, small; `recency`: decayed sums of the
    last events, mixed by one matrix."""
    embedding_dim: int = Field(default=64, gt=1, le=512)
    """Length of the vectors; of `recency` `context_dim` times one more than it has decays."""
    length: int = Field(default=100, gt=1, le=2048)
    """Latest events that are read, and in training predicted."""
    blocks: int = Field(default=2, ge=1, le=12)
    """Of attention."""
    heads: int = Field(default=2, ge=1, le=16)
    """Of each block; divides `embedding_dim`."""
    context_dim: int = Field(default=0, ge=0, le=256)
    """Of `recency`: the part of a vector that says what an event means."""
    decays: tuple[Decay, ...] = Field(default=(), max_length=4)
    """Of `recency`: γ: an event k before the last one counts γ^k."""
    looks_back: int = Field(default=1, ge=1, le=200)
    """Of `recency`: events that a prediction reads."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.network == "attention" and self.embedding_dim % self.heads:
            raise ValueError(f"{self.heads} heads do not divide {self.embedding_dim} dimensions")
        return self

    @model_validator(mode="after")
    def _has_sizes(self) -> Self:
        if self.network == "recency" and self._recency.dim != self.embedding_dim:
            raise ValueError(
                f"context_dim {self.context_dim} and {len(self.decays)} decays do not make "
                f"{self.embedding_dim} dimensions"
            )
        return self

    @property
    def loss(self) -> NextItem:
        """The network, with the loss that it is trained by."""
        network: SequenceNetwork
        if self.network == "attention":
            network = Attention(self.embedding_dim, self.length, self.blocks, self.heads)
        elif self.network == "recency":
            network = self._recency
        else:
            network = Recurrent(self.embedding_dim)
        weight = _RECENCY_POPULARITY if self.network == "recency" else None
        return NextItem(network, self.length, weight)

    @property
    def _recency(self) -> Recency:
        return Recency(self.context_dim, self.decays, self.looks_back)

    @property
    def packing(self) -> Packing:
        """Where its dense parameters stand."""
        return Packing.of(self.loss.initial(np.random.default_rng(0)), self.embedding_dim)


@dataclass(frozen=True)
class Sequential:
    """The shared half of the model; a function of releases and public facts.

    Score of item i for a shopper with vector x: x·v_i + w log(popularity_i / mean popularity);
    a shopper without events gets the popularity instead.

    Attributes:
        item_table: vectors of the items, `[items, dim]` float32.
        dense: the network's parameters, packed, `[rows, dim]` float32.
        popularity: `[items]`, positive.
        settings: what the network is.

    Raises:
        ArtifactError: `artifact-invalid`, an array has the wrong shape or bad values.
    """

    kind: ClassVar[str] = "sequential"
    Settings: ClassVar[type[SequentialModelSettings]] = SequentialModelSettings

    item_table: NDArray[np.float32]
    dense: NDArray[np.float32]
    popularity: NDArray[np.float32]
    settings: SequentialModelSettings

    def __post_init__(self) -> None:
        check_shared(self.arrays(), self.settings.packing.rows, self.settings.embedding_dim)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.item_table)

    @property
    def dim(self) -> int:
        """Length of a shopper's vector."""
        return int(self.item_table.shape[1])

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """Items that are bought after the same ones lie close, `[items, dim]`."""
        return self.item_table

    def fold_in(self, histories: Histories) -> Floats:
        """What the network knows after each shopper's last event, `[users, dim]`. Personal.

        Zero for a shopper without events. Alone and in a batch a vector agrees to rounding.
        """
        vectors = np.zeros((histories.n_users, self.dim))
        for start in range(0, histories.n_users, _BATCH):
            users = np.arange(start, min(start + _BATCH, histories.n_users))
            vectors[users] = self._read(histories.take(users))
        return vectors

    def scores(self, user_vectors: Floats) -> Floats:
        """Scores of all items, `[users, items]`; by popularity where the vector is zero."""
        scores: Floats = user_vectors @ self._embeddings.T
        scores += self._bias
        scores[~user_vectors.any(axis=1)] = self.popularity
        return scores

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Shared parameters by name."""
        return {
            TABLE: self.item_table,
            DENSE: self.dense,
            POPULARITY_ARRAY: self.popularity,
        }

    @staticmethod
    def specs(
        n_items: int,
        settings: SequentialModelSettings,
        arrays: Mapping[str, NDArray[Any]],  # noqa: ARG004 - the settings hold every size
    ) -> dict[str, ArraySpec]:
        """What a client demands of each array of a model that it is sent."""
        return shared_specs(n_items, settings.packing.rows, settings.embedding_dim)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], settings: SequentialModelSettings
    ) -> Sequential:
        """Rebuild a model.

        Raises:
            ArtifactError: `artifact-invalid`, names, shapes or values are wrong.
        """
        check_shared(arrays, settings.packing.rows, settings.embedding_dim)
        values = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        return cls(settings=settings, **values)

    def _read(self, histories: Histories) -> Floats:
        recent = histories.recent(self.settings.length)
        counts = (recent >= 0).sum(axis=1)
        rows = self.item_table[np.maximum(recent, 0)]
        with torch.no_grad():
            hidden = self._loss.network.hidden(self._parameters, torch.from_numpy(rows))
        last = hidden[torch.arange(len(rows)), torch.from_numpy(np.maximum(counts - 1, 0))]
        return np.where(counts[:, None] > 0, last.numpy().astype(np.float64), 0.0)

    @cached_property
    def _loss(self) -> NextItem:
        return self.settings.loss

    @cached_property
    def _parameters(self) -> dict[str, torch.Tensor]:
        named = self.settings.packing.unpack(np.array(self.dense))
        return {name: torch.from_numpy(value) for name, value in named.items()}

    @cached_property
    def _embeddings(self) -> Floats:
        return self.item_table.astype(np.float64)

    @cached_property
    def _bias(self) -> Floats:
        weight = float(self._loss.popularity(self._parameters)[0])
        popularity = self.popularity.astype(np.float64)
        return np.asarray(weight * np.log(popularity / popularity.mean()))
