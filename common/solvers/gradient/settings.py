"""Settings that all gradient solvers on networks share."""

from __future__ import annotations

from typing import Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from common.privacy.plan import RowSelection, Sampler
from common.solvers.aggregation import Aggregation
from common.solvers.subspace import Subspace

__all__ = ["MOST_STEPS", "GradientSettings", "Start"]

MOST_STEPS: Final = 100_000

Start: TypeAlias = Literal["random", "subspace"]
"""Where vectors of items begin."""


class GradientSettings(Aggregation):
    """How a network is trained.

    Where a default is absent it is one thing without privacy and another with: a network that
    is trained privately starts from the subspace of tastes, and leaves the vectors of the items
    as they are, because the noise on a whole table drowns what the users of one federation say.
    `recency` of the solver `sequential` has defaults and a start of its own.
    """

    rounds: int | None = Field(default=None, gt=0, le=10_000)
    """Rounds of the federation after the start. Absent: 40, or 10 with privacy."""
    local_steps: int | None = Field(default=None, gt=0, le=10_000)
    """Steps that a client takes in a round. Absent: 200, or 1 with privacy."""
    sampling_rate: float | None = Field(default=None, gt=0, le=1)
    """Probability with which a user takes part in a step (Poisson). Absent: of 64 users at each
    client, or 1 with privacy."""
    clip_norm: float = Field(default=0.1, ge=1e-6, le=1e6)
    """Largest norm of one user's gradient."""
    optimizer: Literal["sgd", "adam"] = "adam"
    """What steps on the total. Its moments begin anew in each round of local steps."""
    learning_rate: float = Field(default=2e-3, ge=1e-6, le=1e6)
    """Of `adam` about the step of an entry; of `sgd` in units of the mean gradient."""
    momentum: float = Field(default=0.9, ge=0, le=0.9999)
    """Of `sgd`; decay of the first moment of `adam`."""
    warm_up: float = Field(default=0.05, ge=0, le=1)
    """Share of all steps in which the learning rate grows to its full value."""
    decay: Literal["cosine", "constant"] = "cosine"
    """What becomes of the learning rate after that: `cosine` ends at a fiftieth."""
    negatives: int | None = Field(default=None, gt=0, le=50_000_000)
    """Items drawn for each step, the same for all users; from `n_items` on all. Absent: all
    without privacy, 500 with."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Absent: 0.2 without privacy. With privacy the noise does what it is for: 0 and no other."""
    sampler: Sampler | None = None
    """Law of the noise. Absent: `exact`, whose distance to a Gaussian takes nothing of a small δ;
    `fast` where vectors of items are trained, and draws run to tens of millions."""
    row_selection: RowSelection | None = None
    """Noise on the items alone that enough users of a step have, as in `dpsgd`; needs
    `train_items`. Absent: all items. A network's other parameters have noise always."""
    start: Start | None = None
    """Where vectors of items begin. Absent: `random` without privacy, `subspace` with."""
    start_share: float = Field(default=0.6, ge=1e-3, le=0.999)
    """Share of the budget for all that the start releases."""
    subspace: Subspace.Settings = Field(default_factory=Subspace.Settings)
    """Of that start."""
    train_items: bool | None = None
    """Whether vectors of items are trained on. Absent: without privacy only."""
    init_stddev: float = Field(default=0.02, ge=1e-6, le=1e3)
    """Standard deviation of the first vectors of items, in each coordinate."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if (self.rounds or 1) * (self.local_steps or 1) > MOST_STEPS:
            raise ValueError(f"rounds times local_steps is more than {MOST_STEPS}")
        if self.row_selection is not None and self.row_selection.dense_rows > 0:
            raise ValueError("row_selection has dense_rows: they are what the network has")
        return self

    def start_for(self, *, private: bool) -> Start:
        """Where vectors of items begin in a job."""
        return self.start or ("subspace" if private else "random")
