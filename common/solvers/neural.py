"""The solver `neural`: two towers and a head, trained to find hidden ones of a shopper's items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from common.arrays import Histories, Ints, State
from common.catalogue import Catalogue
from common.features.hashed import HashedEncoder, HashedSettings
from common.features.narrow import narrowed
from common.models.neural import Neural as Model
from common.models.neural import NeuralModelSettings
from common.models.shared_arrays import FEATURES
from common.solvers.base import ArraySpec, PublicFacts
from common.solvers.gradient.examples import Batch, Draw, rivals, windows
from common.solvers.gradient.following import FollowingSolver
from common.solvers.gradient.settings import GradientSettings

__all__ = ["Neural", "NeuralSettings", "Parts"]


class NeuralSettings(GradientSettings, NeuralModelSettings):
    """Settings of the training and of the network."""

    length: int = Field(default=200, ge=1, le=2048)
    """Events of a user that a step reads, known and wanted ones together."""
    known_share: float = Field(default=0.5, gt=0, lt=1)
    """Probability with which an event is given; the others, one at least, are looked for."""
    features: HashedSettings = Field(default_factory=HashedSettings)
    """What is read of the catalogue, where `feature_width` asks for features."""


@dataclass(frozen=True)
class Parts:
    """Some events of each user, split into known and wanted ones; one at least is wanted.

    Where ratings are the target, an event without one is known, and never wanted.

    Guarantee:
        Which event is known is a function of its number in the window, of which events there
        have what is wanted of them, and of the public draw.

    Attributes:
        settings: of the solver.
    """

    settings: NeuralSettings

    def own(self, histories: Histories, draw: Draw) -> Ints:
        """The window of each user, in time order."""
        return windows(histories, self.settings.length, draw.place)

    def batch(self, histories: Histories, draw: Draw) -> Batch:
        """One window of each user, in time order."""
        length = self.settings.length
        own = self.own(histories, draw)
        numbers = np.random.default_rng(int(draw.place * 2**53)).random(length)
        example = rivals(own, draw, histories)
        present = example["present"]
        able = present
        if self.settings.reads_weights:
            ratings = self.settings.standardised(histories, own)
            able = present & ~np.isnan(ratings)
            example["rating"] = np.nan_to_num(ratings)
        largest = np.where(able, numbers, -1.0).max(axis=1, keepdims=True)
        known = ((numbers < self.settings.known_share) & (numbers < largest)) | ~able
        example["known"], example["wanted"] = present & known, able & ~known
        return Batch(own, example)


class Neural(FollowingSolver):
    """Trains two towers and a head."""

    Settings: ClassVar[type[NeuralSettings]] = NeuralSettings
    model_kind: ClassVar[str] = "neural"

    def __init__(self, settings: NeuralSettings, facts: PublicFacts) -> None:
        if settings.reads_weights:  # and so reads no shared items
            settings = settings.model_copy(update={"negatives": 1})
        self._model_settings = NeuralModelSettings(
            **{name: getattr(settings, name) for name in NeuralModelSettings.model_fields}
        )
        self._encoder = HashedEncoder(settings.features)
        super().__init__(
            settings,
            facts,
            network=self._model_settings.network,
            examples=Parts(settings),
            name="neural",
            dim=settings.embedding_dim,
            width=settings.feature_width,
        )

    @property
    def model_settings(self) -> NeuralModelSettings:
        """What the finished model needs beside its arrays."""
        return self._model_settings

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        """Arrays of the finished model."""
        return Model.specs(self.facts.n_items, self._model_settings, {})

    @property
    def reads_weights(self) -> bool:
        """Whether ratings are the target: the weights of events."""
        return self._model_settings.reads_weights

    @property
    def reads_catalogue(self) -> bool:
        """Whether the initial state has features of the items."""
        return self._model_settings.feature_width > 0

    def public_arrays(self, catalogue: Catalogue) -> State:
        """Features of the items, in the place of the zeros of `initial_state`.

        Raises:
            DataError: `catalogue-invalid`, it has nothing to make features of.
        """
        values = self._encoder.encode(catalogue).values
        return {FEATURES: narrowed(values, self._model_settings.feature_width)}

    def finish(self, state: State) -> Model:
        """The model from the last state."""
        return Model.from_arrays(self.arrays_of(state), self._model_settings)
