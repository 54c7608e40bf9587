"""What a report shows of predicted ratings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from common.config import Settings

__all__ = ["RatingErrors"]


class RatingErrors(Settings):
    """Errors of predicted ratings, over all held-out ones."""

    name: Literal["joint", "item-means", "global-mean"]
    """What predicts."""
    rmse: float = Field(ge=0)
    """Root of the mean squared error."""
    mae: float = Field(ge=0)
    """Mean absolute error."""
    rated: int = Field(gt=0)
    """Held-out ratings."""
