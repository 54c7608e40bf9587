"""What a report shows of secure sums."""

from __future__ import annotations

from pydantic import Field

from common.config import Settings

__all__ = ["SecureSums", "ShopsEpsilon", "SumNoise", "SumTerms"]


class SumTerms(Settings):
    """How many clients answer a secure sum, and how many may be against the others."""

    clients: int
    """Clients on the roster."""
    threshold: int
    """Fewest of which a total is made."""
    colluders: int
    """Clients that may collude with the server."""


class ShopsEpsilon(Settings):
    """The guarantee for somebody who is a user of several clients."""

    shops: int = Field(gt=0)
    """How many."""
    epsilon: float | None
    """ε of the plan for them; None if none is finite."""
    accountant: str
    """How it was computed."""


class SumNoise(Settings):
    """Noise of one secure sum, over the largest contribution of one user."""

    promised: float = Field(gt=0)
    """Of the fewest honest clients together."""
    in_total: float = Field(ge=0)
    """Of all clients in the total together."""
    clients: int = Field(gt=0)
    """Clients in the total."""
    sessions: int = Field(ge=0)
    """Attempts that it took."""
    signal_to_noise: float | None
    """Estimated from the total."""


class SecureSums(Settings):
    """Where the totals of a run are secure sums."""

    by_shops: tuple[ShopsEpsilon, ...]
    """By number of shops of one shopper, from 1."""
    noise: tuple[SumNoise, ...]
    """One for each round."""
