"""How a connection ends, or is kept waiting: errors with codes, one line each.

Exit status: 2 where a person has to mend something, 1 (`Passing`) where a new process may
get on by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import ClassVar, Final

from common.certificates import Certificate
from common.errors import Code, ConfigError, RunError

__all__ = [
    "Expelled",
    "Passing",
    "bad_certificate",
    "clock_skew",
    "not_registered",
    "renumbered",
    "skew_of",
    "still_counted",
    "unreachable",
]

_MOST_BEHIND: Final = timedelta(seconds=300)
_MOST_AHEAD: Final = timedelta(seconds=4)
"""Flower takes a signature that is 305 seconds old or 5 seconds early; a `Date` is of whole
seconds, so what is nearer than these is not blamed on the clock."""


class Expelled(Exception):  # noqa: N818  not an error yet: the connection finds out which it is
    """The server does not take this node's signature for the node's number any more."""


class Passing(RunError):  # noqa: N818  an end, not a fault
    """An end after which a new process may get on; the exit status is 1."""

    exit_status: ClassVar[int] = 1


def not_registered(address: str, *, was: bool) -> RunError:
    """The server does not know the node's key.

    Args:
        address: of the server.
        was: the node was connected before.
    """
    what = "this node's key is not registered any more."
    if not was:
        what = "this node's key is not registered, or is in use by another node."
    return RunError(
        Code.NODE_REFUSED,
        what,
        where=address,
        remedy="Ask the operator; compare the fingerprint of the card.",
    )


def still_counted(address: str, seconds: float) -> Passing:
    """Another process of this node has been connected all the time."""
    return Passing(
        Code.NODE_REFUSED,
        f"another process of this node is counted as connected, for {seconds:.0f} seconds now.",
        where=address,
        remedy="If another one runs, end it; else wait.",
    )


def renumbered(address: str) -> Passing:
    """The server knows the node again, under another number."""
    return Passing(
        Code.NODE_REFUSED,
        "the server has registered this node anew.",
        where=address,
        remedy="Start it again.",
    )


def unreachable(address: str, what: str) -> RunError:
    """Nothing answers, or not the server."""
    return RunError(
        Code.SERVER_UNREACHABLE,
        f"{what.rstrip('.')}.",
        where=address,
        remedy="This node keeps trying.",
    )


def clock_skew(address: str, what: str) -> ConfigError:
    """The clock of this machine is wrong, or that of the server."""
    return ConfigError(
        Code.CLOCK_SKEW,
        f"{what}; the clock here says {_now():%Y-%m-%d %H:%M} UTC.",
        where=address,
        remedy="Set the clock.",
    )


def skew_of(date: str | None) -> str:
    """How far this machine's clock is off, as text; empty if it is near enough.

    Args:
        date: the `Date` header of an answer, None if it had none.
    """
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return ""
    ahead = _now() - theirs.replace(tzinfo=theirs.tzinfo or UTC)
    if -_MOST_BEHIND < ahead < _MOST_AHEAD:
        return ""
    direction = "ahead of" if ahead > timedelta(0) else "behind"
    return f"this machine's clock is {_span(abs(ahead))} {direction} the server's"


def bad_certificate(
    address: str, shown: Certificate | None, reason: str, *, by_authority: bool | None
) -> ConfigError:
    """The server's certificate cannot be believed.

    Args:
        address: of the server.
        shown: what it shows; None if that cannot be found out.
        reason: what TLS says.
        by_authority: the authority that the owner trusts has signed it; None if that is the
            system's to say.
    """
    now = _now()
    if shown is not None and by_authority is not False and now < shown.not_valid_before_utc:
        early = _span(shown.not_valid_before_utc - now)
        return clock_skew(address, f"the server's certificate begins in {early}")
    remedy = "Compare `ca.pem` with the invitation, and the address with what the operator says."
    what = f"the server's certificate is not believed: {reason.rstrip('.')}."
    if shown is not None and by_authority is not False and now > shown.not_valid_after_utc:
        over = _span(now - shown.not_valid_after_utc)
        what = f"the server's certificate is over since {over}, if the clock here is right."
        remedy = "Ask the operator to renew it."
    elif shown is not None and by_authority is False:
        what = "the server's certificate is of another authority than the one in `ca.pem`."
    return ConfigError(Code.CERTIFICATE_INVALID, what, where=address, remedy=remedy)


def _span(span: timedelta) -> str:
    if span >= timedelta(days=1):
        return f"{span.days} day{'s' if span.days > 1 else ''}"
    if span >= timedelta(hours=2):
        return f"{span // timedelta(hours=1)} hours"
    return f"{span.total_seconds():.0f} seconds"


def _now() -> datetime:
    return datetime.now(UTC)
