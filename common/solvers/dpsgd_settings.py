"""Settings of matrix factorisation by private gradient descent."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from common.privacy.plan import RowSelection, Sampler
from common.solvers.aggregation import Aggregation

__all__ = ["LOCAL_STEPS", "ROUNDS", "DpSgdSettings"]

ROUNDS: Final = 5
LOCAL_STEPS: Final = 2
_MOST_STEPS: Final = 10_000


class DpSgdSettings(Aggregation):
    """Settings of the gradient solver."""

    embedding_dim: int = Field(default=24, gt=1, le=512)
    """Length of the vectors; column 0 is popularity, the others are trained."""
    rounds: int | None = Field(default=None, gt=0, le=10_000)
    """Rounds of the federation after the popularity round. Absent: 5, or 10 where the noise is
    added to the total and a round is one step."""
    local_steps: int | None = Field(default=None, gt=0, le=10_000)
    """Noisy steps that a client takes in a round; with `rounds` at most 10,000 in all. Absent:
    2, or 1 where the noise is added to the total, and then nothing else is possible."""
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    """Probability with which a user takes part in a step (Poisson)."""
    clip_norm: float = Field(default=0.05, ge=1e-6, le=1e6)
    """Largest norm of one user's gradient; so small that nearly all are clipped to it."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """What steps on the noised gradient. Its moments begin anew in each round of local steps."""
    learning_rate: float = Field(default=3.0, ge=1e-6, le=1e6)
    """`sgd`: a step moves the table by an RMS of this at most; `adam`: of about this."""
    momentum: float = Field(default=0.0, ge=0, le=0.9999)
    """Of `sgd`; decay of the first moment of `adam`."""
    negatives: int = Field(default=200, ge=0, le=50_000_000)
    """Items drawn for each step, the same for all users; from `n_items` on, all items."""
    negative_weight: float = Field(default=0.1, ge=0, le=1e3)
    """α: weight of a negative beside an event's weight of 1."""
    sampler: Sampler = "exact"
    """Law of the noise; `fast` where steps times items run to tens of millions of draws."""
    row_selection: RowSelection | None = None
    """Noise on the items alone that enough users of a step have: `threshold`, `share` and
    `clip_norm` of the counts that choose them. An item counts as had by whom it is a negative
    for, too. Absent: all items."""
    popularity_share: float = Field(default=0.05, ge=1e-4, le=0.9999)
    """Share of the budget for the popularity round."""
    popularity_exponent: float = Field(default=0.15, ge=0, le=1)
    """β of the preconditioner."""
    init_stddev: float = Field(default=0.1, ge=1e-6, le=1e3)
    """Standard deviation of the first table."""
    unobserved_weight: float = Field(default=0.3, gt=0, le=1e3)
    """α0 of the fold-in."""
    regularisation: float = Field(default=1.0, ge=1e-6, le=1e6)
    """λ of the fold-in."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if (self.rounds or ROUNDS) * (self.local_steps or LOCAL_STEPS) > _MOST_STEPS:
            raise ValueError(f"rounds times local_steps is more than {_MOST_STEPS}")
        if self.row_selection is not None and self.row_selection.dense_rows > 0:
            raise ValueError("row_selection has dense_rows: every row is an item")
        return self
