"""A second kind of models, small and without torch: what matters is when an item was met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import Field

from common.arrays import Floats, Histories, State
from common.config import Settings as BaseSettings
from common.errors import ArtifactError, Code
from common.models.registry import KINDS
from common.privacy.inbound import ArraySpec
from common.solvers.popularity import Popularity
from common.solvers.registry import SOLVERS

NAME = "drift"


@dataclass(frozen=True)
class Drift:
    """A shopper is the sum of their items' vectors, the latest most, turned."""

    class Settings(BaseSettings):
        decay: float = Field(default=0.5, gt=0, lt=1)
        width: int = Field(default=3, ge=1, le=100_000)

    kind: ClassVar[str] = NAME

    table: NDArray[np.float32]
    turn: NDArray[np.float32]
    popularity: NDArray[np.float32]
    settings: Settings

    @property
    def n_items(self) -> int:
        return len(self.table)

    @property
    def dim(self) -> int:
        return int(self.table.shape[1])

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        return self.table

    def fold_in(self, histories: Histories) -> Floats:
        vectors = np.zeros((histories.n_users, self.dim))
        for user in range(histories.n_users):
            for item in histories.sequence_of(user):
                vectors[user] = self.settings.decay * vectors[user] + self.table[item]
        return vectors @ self.turn.astype(np.float64)

    def scores(self, user_vectors: Floats) -> Floats:
        scores: Floats = user_vectors @ self.table.T.astype(np.float64)
        scores[~user_vectors.any(axis=1)] = self.popularity
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"table": self.table, "turn": self.turn, "popularity": self.popularity}

    @staticmethod
    def specs(
        n_items: int, settings: Settings, arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, ArraySpec]:
        del arrays
        return {
            "table": ArraySpec((n_items, settings.width)),
            "turn": ArraySpec((settings.width, settings.width)),
            "popularity": ArraySpec((n_items,), positive=True),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Settings) -> Drift:
        if set(arrays) != {"table", "turn", "popularity"}:
            raise ArtifactError(Code.ARTIFACT_INVALID, "other arrays.", where="model")
        return cls(settings=settings, **{n: np.asarray(a, np.float32) for n, a in arrays.items()})


class Drifting(Popularity):
    """The released popularity, and a table that says nothing of anybody."""

    model_kind: ClassVar[str] = NAME

    @property
    def model_settings(self) -> Drift.Settings:  # type: ignore[override]
        return Drift.Settings()

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        return Drift.specs(self.facts.n_items, self.model_settings, {})

    def finish(self, state: State) -> Drift:  # type: ignore[override]
        made = a_drift(self.facts.n_items)
        popularity = np.asarray(state["popularity"], np.float32)
        return Drift(made.table, made.turn, popularity, self.model_settings)


def a_drift(n_items: int = 60, seed: int = 0) -> Drift:
    draw = np.random.default_rng(seed)
    table = draw.normal(size=(n_items, 3)).astype(np.float32)
    turn = np.linalg.qr(draw.normal(size=(3, 3)))[0].astype(np.float32)
    popularity = (1 + draw.random(n_items)).astype(np.float32)
    return Drift(table, turn, popularity, Drift.Settings())


def know_drift(patch: pytest.MonkeyPatch) -> None:
    """This version has the kind, and a solver that makes it."""
    patch.setitem(KINDS, NAME, "tests.kinds:Drift")  # type: ignore[arg-type]
    patch.setitem(SOLVERS, NAME, "tests.kinds:Drifting")  # type: ignore[arg-type]
