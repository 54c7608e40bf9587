"""What is shown of a server, typed: for the terminal, for JSON, for pages and metrics."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from typing import Literal, TypeAlias

from common.config import Settings
from server.record import RoundRecord

__all__ = [
    "CertificateView",
    "DoorView",
    "HomeView",
    "MemberView",
    "ModelView",
    "RunState",
    "RunView",
]

RunState: TypeAlias = Literal["asked", "going", "stopped", "done", "unreadable"]
"""`asked`: there is no job yet; `going`: there is no model yet, whether or not a process is at
work on it; `stopped`: the last process said why it could not go on; `done`: the model is there."""


class RunView(Settings):
    """One training."""

    name: str
    """Of its folder below `runs`."""
    state: RunState
    """How far it is."""
    problem: str | None = None
    """The code for what cannot be read, or for what stopped it."""
    solver: str | None = None
    """Name of the solver; None before there is a job."""
    mode: str | None = None
    """Who adds the noise."""
    steps: int | None = None
    """Steps of the job, if that is known."""
    changed_at: datetime | None = None
    """When its files last changed, UTC."""
    rounds: tuple[RoundRecord, ...] = ()
    """Every completed round, in order."""

    @property
    def completed(self) -> int:
        """Steps that are done."""
        return len(self.rounds)

    @property
    def last(self) -> RoundRecord | None:
        """The newest completed round."""
        return self.rounds[-1] if self.rounds else None

    @property
    def answered(self) -> Counter[str]:
        """Rounds in which a release was used, by client."""
        return Counter(name for record in self.rounds for name in record.answered)

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """Rounds without a release, by client and code."""
        return Counter(pair for record in self.rounds for pair in record.refused.items())


class MemberView(Settings):
    """A client that the operator has added."""

    name: str
    """Its name."""
    registered: bool | None = None
    """Whether Flower lets its node in; None if the database cannot be read."""
    online: bool = False
    """Whether its node was heard of within its lease."""
    heard_at: datetime | None = None
    """When its node was last heard of, UTC."""


class ModelView(Settings):
    """The model that clients are given."""

    serial: int
    """Number of the promotion, from 1."""
    version: str
    """Which one."""
    promoted_at: datetime | None = None
    """When, UTC."""


class CertificateView(Settings):
    """A certificate of the server."""

    name: str
    """`tls`, what clients see, or `authority`, what vouches for it."""
    state: str
    """`ok`, `ends-soon`, `expired`, or `wrong` if it cannot be read."""
    days: int | None = None
    """Whole days that are left."""
    ends: date | None = None
    """Its last day."""


class DoorView(Settings):
    """What the newest lines of the access log say."""

    lines: int = 0
    """How many were read."""
    since: str | None = None
    """Time of the oldest of them."""
    refused: int = 0
    """Requests from outside that were turned away: 4xx, or no place."""


class HomeView(Settings):
    """A server, as its home shows it."""

    home: str
    """The folder."""
    at: datetime
    """When it was looked at, UTC."""
    is_up: bool | None = None
    """Whether the gateway answers from outside; None if nobody asked."""
    runs: tuple[RunView, ...] = ()
    """The newest ones first."""
    older_runs: int = 0
    """How many are not shown."""
    members: tuple[MemberView, ...] = ()
    """In order of name."""
    model: ModelView | None = None
    """The promoted one."""
    versions: int = 0
    """Models that could be promoted."""
    certificates: tuple[CertificateView, ...] = ()
    """`tls`, then `authority`."""
    door: DoorView = DoorView()
    """Who came."""
    problems: tuple[str, ...] = ()
    """What cannot be read, in a line each."""

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the server is not well: nodes cannot reach it, or will not believe it."""
        found = [f"certificate {one.name}: {one.state}" for one in self.certificates if _bad(one)]
        if self.is_up is False:
            found.insert(0, "the gateway does not answer")
        return (*found, *self.problems)


def _bad(certificate: CertificateView) -> bool:
    return certificate.state not in {"ok", "ends-soon"}
