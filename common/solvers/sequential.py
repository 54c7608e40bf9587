"""The solver `sequential`: next-item prediction from a shopper's events in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from common.arrays import Histories, Ints, State
from common.models.sequential import Sequential as Model
from common.models.sequential import SequentialModelSettings
from common.models.shared_arrays import shared_specs
from common.solvers.base import ArraySpec, PublicFacts
from common.solvers.gradient.examples import Batch, Draw, rivals, windows
from common.solvers.gradient.following import FollowingSolver
from common.solvers.gradient.settings import GradientSettings

__all__ = ["Sequential", "SequentialSettings", "Windows"]


class SequentialSettings(GradientSettings, SequentialModelSettings):
    """Settings of the training and of the network."""


@dataclass(frozen=True)
class Windows:
    """Consecutive events of each user; every one but the first is predicted.

    Attributes:
        length: events that are read.
    """

    length: int

    def own(self, histories: Histories, draw: Draw) -> Ints:
        """The window of each user, in time order."""
        return windows(histories, self.length + 1, draw.place)

    def batch(self, histories: Histories, draw: Draw) -> Batch:
        """One window of each user, in time order."""
        own = self.own(histories, draw)
        return Batch(own, rivals(own, draw))


class Sequential(FollowingSolver):
    """Trains SASRec (Kang and McAuley 2018) with cross-entropy, or a GRU."""

    Settings: ClassVar[type[SequentialSettings]] = SequentialSettings
    model_kind: ClassVar[str] = "sequential"

    def __init__(self, settings: SequentialSettings, facts: PublicFacts) -> None:
        super().__init__(
            settings,
            facts,
            network=settings.loss,
            examples=Windows(settings.length),
            name="sequential",
            dim=settings.embedding_dim,
        )
        self._model_settings = SequentialModelSettings(
            **{name: getattr(settings, name) for name in SequentialModelSettings.model_fields}
        )

    @property
    def model_settings(self) -> SequentialModelSettings:
        """What the finished model needs beside its arrays."""
        return self._model_settings

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        """Arrays of the finished model."""
        return shared_specs(self.facts.n_items, self._model_settings.packing.rows, self.dim)

    def finish(self, state: State) -> Model:
        """The model from the last state."""
        return Model.from_arrays(self.arrays_of(state), self._model_settings)
