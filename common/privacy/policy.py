"""The policy of a client's owner, `policy.toml`: what a server may ask for, and how much.

Written by whoever answers for the customers' privacy, read by the guard before anything is
computed. A server can ask for less, never for more.
"""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from common.config import Settings
from common.errors import PlanError, PolicyError
from common.privacy.filters import Cap, Filter, make_filter
from common.privacy.plan import Mode, Unit
from common.privacy.roster import ClientName, Roster
from common.privacy.signing import Hex32, PublicKey

__all__ = ["Period", "Policy", "Serving", "Sha256"]

Serving: TypeAlias = Literal["joint", "shop"]
Sha256: TypeAlias = Hex32
"""A SHA-256 in hexadecimal."""


class Period(Settings):
    """A cap that renews: any `days` in a row stay below `epsilon`, at the lifetime's δ."""

    days: int = Field(gt=0, le=3660)
    """Length in days; the window slides, whole days by UTC."""
    epsilon: float = Field(gt=0)
    """ε of everything released within them."""


class Policy(Settings):
    """What the owner of a client allows.

    Guarantee:
        All releases of the client's data set together, over all jobs, models and servers,
        stay within `lifetime` in unit `unit`, under add/remove, however servers choose what
        they ask for next; and each period's within its ε.
    """

    lifetime: Cap
    """ε and δ that all releases together never exceed."""
    periods: tuple[Period, ...] = ()
    """Caps that renew, beside the lifetime's."""
    unit: Unit = "user"
    """What is protected; a job with another unit is refused."""
    renyi_order: int | None = Field(default=None, ge=2, le=1024)
    """Order of the Rényi filter, fixed before the first release; without it the filter is
    that of Gaussian DP, which is tighter unless users are sampled."""
    modes: tuple[Mode, ...] = ("local",)
    """Who may add the noise; `none` also needs `no_privacy` in client.toml."""
    solvers: tuple[str, ...] = (
        "subspace",
        "dpsgd",
        "transitions",
        "sequential",
        "neural",
        "popularity",
    )
    """Solvers that may be asked for."""
    servers: tuple[PublicKey, ...] = ()
    """Public keys of the servers that may ask; empty: whoever reaches this client. Models are
    taken of listed servers alone."""
    max_sampling_rate: float = Field(default=1.0, gt=0, le=1)
    """Largest rate at which a job may sample users."""
    max_releases: int = Field(default=1000, gt=0)
    """Most releases of one job's plan: planning more takes long, and so does judging them."""
    min_population: int = Field(default=1, gt=0)
    """Fewest declared users, over all clients, of a job that this client joins."""
    max_shops_per_shopper: int = Field(default=1, gt=0, le=10_000)
    """Clients of one federation that one person may be a user of (m): for the statement."""
    roster: dict[ClientName, PublicKey] = Field(default_factory=dict)
    """Public roster keys of all clients that this one sums securely with, its own among them;
    exchanged by a way that does not pass through the server."""
    colluders: int = Field(default=1, ge=1, le=1_000_000)
    """Fewest clients whose collusion with the server a secure sum must withstand (c)."""
    bundles: tuple[Sha256, ...] = ()
    """SHA-256 of the app bundles whose runs a deployed node takes part in; empty: of none.
    Their code never runs, listed or not."""
    max_message_bytes: int = Field(default=1 << 30, gt=0)
    """Largest message that is looked at."""
    serving: Serving = "joint"
    """What a shopper may be shown: a function of their own events and released values, or
    also of this shop's own log."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for period in self.periods:
            if period.epsilon > self.lifetime.epsilon:
                raise ValueError("a period may not allow more than the lifetime")
        try:
            Roster.of(self.roster)
            for window in (None, *self.periods):
                self.filter(window)
        except (PlanError, PolicyError) as error:
            raise ValueError(str(error)) from None
        return self

    def filter(self, period: Period | None = None) -> Filter:
        """The filter of the lifetime, or of a period."""
        cap = self.lifetime
        if period is not None:
            cap = Cap(epsilon=period.epsilon, delta=self.lifetime.delta)
        return make_filter(cap, self.renyi_order)
