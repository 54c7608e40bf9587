"""The job: what the server asks for, in words that every client can check and price."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from common.config import Settings
from common.privacy.plan import Mode, Unit
from common.privacy.roster import Terms
from common.privacy.signing import Hex32, PublicKey

__all__ = ["Job", "JobId"]

JobId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Job(Settings):
    """One training, from first step to model. Public, frozen, sent with every task."""

    job_id: JobId
    """HushRec's own id; outlives Flower's run id when a server is restarted."""
    catalogue_version: str = Field(min_length=1, max_length=128)
    """Content hash of the public catalogue."""
    n_items: int = Field(gt=0, le=50_000_000)
    """Size of that catalogue."""
    catalogue_derived: bool = False
    """The catalogue was read off the events: simulation only, since it tells of purchases."""
    clients: int = Field(gt=0, le=1_000_000)
    """Clients on the roster."""
    population: int = Field(gt=0)
    """Declared users over all clients: a public constant, never a count."""
    signal: float = Field(gt=0)
    """Declared users behind one unit of noise: √(Σ population²) over the clients, and where
    they share the noise of one sum, `population` times √(honest shares / clients)."""
    mode: Mode = "local"
    """Who adds the noise; see the privacy page."""
    unit: Unit = "user"
    """What one neighbour adds."""
    epsilon: float | None = None
    """Target ε at each client; None only in mode `none`."""
    delta: float = Field(default=0.0, ge=0, lt=1)
    """δ at each client; 0 only in mode `none`."""
    solver: str = Field(min_length=1, max_length=64)
    """Name of the solver."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the solver; unknown keys are rejected by it."""
    evaluation_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the budget that goes to one private evaluation of the final model."""
    renyi_order: int | None = Field(default=None, ge=2, le=1024)
    """Order of the Rényi filter that the plan is aimed at; None aims at a GDP filter, which
    prices a sampled sum as if nobody had been left out."""
    server: PublicKey | None = None
    """Public key of the server, which signs every task; None only in a job that nobody sends."""
    roster: Hex32 | None = None
    """Digest of the roster whose clients sum securely; in mode `distributed` only, as are the
    next two."""
    threshold: int | None = Field(default=None, gt=0, le=1_000_000)
    """t: fewest clients of which a secure sum is made."""
    colluders: int | None = Field(default=None, gt=0, le=1_000_000)
    """c: clients that may collude with the server."""
    seed: int = Field(default=0, ge=0)
    """Seed of public randomness (initial factors). Noise never comes from it."""

    @model_validator(mode="after")
    def _says_how_to_sum(self) -> Self:
        given = [value is not None for value in (self.roster, self.threshold, self.colluders)]
        if any(given) != all(given) or all(given) != (self.mode == "distributed"):
            raise ValueError(
                "mode `distributed` takes roster, threshold and colluders; no other mode does"
            )
        return self

    @property
    def terms(self) -> Terms | None:
        """How many must answer a secure sum; None in every other mode. Not checked here."""
        if self.threshold is None or self.colluders is None:
            return None
        return Terms(self.clients, self.threshold, self.colluders)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical form: two jobs are the same job if these agree.

        Not cached: `model_copy` would carry the old value along.
        """
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
