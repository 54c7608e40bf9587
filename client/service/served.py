"""A model that answers, with what is derived from it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from client.models import HeldModel
from common.arrays import Floats, Histories
from common.models.base import Model
from common.models.explain import Terms, terms_of, terms_without
from common.models.mf import MatrixFactorisation
from common.models.weights import RatingUnits, histories_for, rating_units

__all__ = ["Served", "Serving"]

Serving = Literal["joint", "shop"]


@dataclass(frozen=True)
class Served:
    """A model that answers. Built once, then only read.

    Attributes:
        version: of the model that was delivered.
        serial: of its promotion.
        serving: what an answer by it may depend on beside the shopper's own events.
        catalogue_version: whose order the rows follow.
        model: the model.
        shelf_items: size of the catalogue, where that has grown since the model was made: items
            that the model does not know have no score and no vector, and events about them
            count for nothing. None: the model knows all.
    """

    version: str
    serial: int
    serving: Serving
    catalogue_version: str
    model: Model
    shelf_items: int | None = None

    @classmethod
    def of(cls, held: HeldModel) -> Served:
        """The model as it was delivered, ready to answer."""
        catalogue = held.manifest.catalogue_version
        made = cls(held.version, held.serial, "joint", catalogue, held.model)
        return made.warmed()

    def warmed(self) -> Served:
        """The same, with everything derived that the first answer would wait for."""
        self.vector(Histories(np.array([0, 1]), np.array([0]), np.ones(1), self.model.n_items))
        if self.serving == "joint":
            self.directions.any()
        if isinstance(self.model, MatrixFactorisation):
            self.gramian.any()
        return self

    def on(self, n_items: int) -> Served:
        """The same, for answers about a catalogue of which it knows the first items."""
        return replace(self, shelf_items=n_items).warmed()

    def knows(self, item: int) -> bool:
        """Whether the item at this position has a row in the model."""
        return item < self.model.n_items

    def vector(self, history: Histories) -> Floats:
        """A shopper's vector from their own events alone, `[1, dim]`; zero without events."""
        known = histories_for(self.model, history).within(self.model.n_items)
        return self.model.fold_in(known)

    def scores(self, vector: Floats) -> Floats:
        """Of all items, `[items]`: one matrix-vector product; popularity for a zero vector.

        Not a number for an item that the model does not know.
        """
        found = np.asarray(self.model.scores(vector)[0], dtype=np.float64)
        return np.pad(found, (0, self._unknown), constant_values=np.nan)

    @property
    def units(self) -> RatingUnits | None:
        """What scores are in units of, of a model that predicts ratings; None of any other."""
        return rating_units(self.model)

    def shown(self, vector: Floats, scores: Floats) -> Floats:
        """Scores as an answer shows them, `[items]`: expected ratings where the model has any.

        Popularity is no rating: for a zero vector all are the mean.
        """
        units = self.units
        if units is None:
            return scores
        return units.ratings(scores if vector.any() else np.zeros_like(scores))

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """Vectors of items at length 1, or zero, `[items, dim]`."""
        vectors = self.model.item_vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        made = np.zeros((len(vectors) + self._unknown, vectors.shape[1]), vectors.dtype)
        np.divide(vectors, lengths, out=made[: len(vectors)], where=lengths > 0)
        return made

    def terms(
        self, history: Histories, vector: Floats, item: int, still: Callable[[], object]
    ) -> Terms:
        """Which of one shopper's events make the score of an item that the model knows.

        Args:
            history: of one shopper; an event about an item that the model does not know has
                no part in it.
            vector: of theirs, not zero.
            item: position.
            still: raises when nobody waits any more.
        """
        known = histories_for(self.model, history).within(self.model.n_items)
        if isinstance(self.model, MatrixFactorisation):
            found = terms_of(self.model, known, vector, item, self.gramian)
        else:
            found = terms_without(self.model, known, item, still)
        amounts = np.zeros(len(history.items))
        amounts[history.items < self.model.n_items] = found.amounts
        return replace(found, amounts=amounts)

    @property
    def _unknown(self) -> int:
        """Items of the catalogue that the model does not know."""
        return 0 if self.shelf_items is None else self.shelf_items - self.model.n_items

    @cached_property
    def gramian(self) -> Floats:
        """Sum of all items' outer products, `[dim, dim]`; of matrix factorisation alone."""
        vectors = self.model.item_vectors.astype(np.float64)
        return np.asarray(vectors.T @ vectors, dtype=np.float64)
