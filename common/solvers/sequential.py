"""The solver `sequential`: next-item prediction from a shopper's events in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from common.arrays import Histories, Ints, State
from common.errors import Code, ConfigError
from common.models.sequential import Sequential as Model
from common.models.sequential import SequentialModelSettings
from common.models.shared_arrays import shared_specs
from common.solvers.base import ArraySpec, PublicFacts
from common.solvers.gradient.examples import Batch, Draw, rivals, windows
from common.solvers.gradient.following import FollowingSolver
from common.solvers.gradient.settings import GradientSettings
from common.solvers.transitions import TransitionsSolver, TransitionsSolverSettings

__all__ = ["RECENCY_TRAINING", "Sequential", "SequentialSettings", "Windows"]


class SequentialSettings(GradientSettings, SequentialModelSettings):
    """Settings of the training and of the network.

    Where `network` is absent it is `attention`, or with privacy `recency`, whose few parameters
    bear the noise. `recency` begins where `transitions` ends; that start has `embedding_dim`,
    `context_dim`, `decays` and `looks_back`, which are refused here, and what is absent of the
    training is `RECENCY_TRAINING`.
    """

    transitions: TransitionsSolverSettings = Field(default_factory=TransitionsSolverSettings)
    """Of where `recency` begins."""

    @model_validator(mode="after")
    def _has_sizes(self) -> Self:
        """Nothing yet: in the place of what a finished model is held to."""
        return self


RECENCY_TRAINING: Final[Mapping[str, Any]] = {
    "rounds": 6,
    "local_steps": 1,
    "sampling_rate": 1.0,
    "optimizer": "sgd",
    "learning_rate": 90.0,
    "momentum": 0.0,
    "warm_up": 0.0,
    "decay": "cosine",
    "negatives": 2000,
    "dropout": 0.0,
    "start_share": 0.8,
    "train_items": False,
}
"""How `recency` is trained where a setting is absent; chosen on validation events."""
_SIZES: Final = frozenset({"embedding_dim", "context_dim", "decays", "looks_back"})


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
    """Trains SASRec (Kang and McAuley 2018), a GRU or `Recency` with cross-entropy."""

    Settings: ClassVar[type[SequentialSettings]] = SequentialSettings
    model_kind: ClassVar[str] = "sequential"

    def __init__(self, settings: SequentialSettings, facts: PublicFacts) -> None:
        settings = _completed(settings, facts)
        first = None
        if settings.network == "recency":
            first = TransitionsSolver(settings.transitions, facts)
        super().__init__(
            settings,
            facts,
            network=settings.loss,
            examples=Windows(settings.length),
            name="sequential",
            dim=settings.embedding_dim,
            first=first,
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


def _completed(settings: SequentialSettings, facts: PublicFacts) -> SequentialSettings:
    """With the network that the job has, and for `recency` what it begins with.

    Raises:
        ConfigError: `config-invalid`, `recency` and a start or sizes of another network.
    """
    said = {name: getattr(settings, name) for name in settings.model_fields_set}
    given = {name: value for name, value in said.items() if value is not None}
    network = given.get("network", "recency" if facts.private else "attention")
    if network != "recency":
        return settings
    if "start" in given:
        raise _refused(
            "start", f"begins where `transitions` ends, not at {settings.start!r}", "Leave it out"
        )
    if foreign := sorted(_SIZES & set(given)):
        where = "Say embedding_dim, decays and length in `transitions`"
        raise _refused(foreign[0], "has the sizes of its start", where)
    first = TransitionsSolver(settings.transitions, facts).model_settings
    sizes = {
        "context_dim": first.context_dim,
        "decays": first.decays,
        "looks_back": first.length,
        "embedding_dim": first.context_dim + first.dim,
    }
    completed = {**RECENCY_TRAINING, **given, **sizes, "network": network}
    return SequentialSettings.load(completed, where="sequential settings")


def _refused(where: str, what: str, remedy: str) -> ConfigError:
    return ConfigError(
        Code.CONFIG_INVALID,
        f"the network `recency`, the default with privacy, {what}.",
        where=where,
        remedy=f"{remedy}, or name the network `attention` or `gru`.",
    )
