"""What both the terminal and the page say of a server."""

from __future__ import annotations

from datetime import datetime

from common.pages.numbers import big, count
from server.monitor.view import CertificateView, HomeView, MemberView, RunView
from server.record import RoundRecord

__all__ = [
    "ago",
    "certificate_words",
    "headline",
    "member_words",
    "refused_words",
    "round_words",
    "run_words",
]


def headline(view: HomeView) -> str:
    """How the server is, in a sentence."""
    if view.faults:
        return f"Something is wrong: {'; '.join(view.faults)}."
    return "The gateway answers." if view.is_up else "Nothing is known to be wrong."


def run_words(run: RunView) -> str:
    """How far a run is."""
    if run.state == "asked":
        return "asked for, not begun"
    if run.state == "unreadable":
        return f"cannot be read: {run.problem}"
    far = "not begun" if run.steps is None else f"{run.completed} of {run.steps} rounds"
    if run.state == "stopped":
        return f"{far}; stopped: {run.problem}"
    return f"done, {far}" if run.state == "done" else far


def refused_words(record: RoundRecord | None) -> str:
    """Who gave no release in a round, and why: `north policy-bundle, south no-answer`."""
    if record is None or not record.refused:
        return "nobody" if record else "–"
    return ", ".join(f"{name} {code}" for name, code in sorted(record.refused.items()))


def round_words(record: RoundRecord) -> tuple[str, ...]:
    """A round: its number and step, who answered and who did not, seconds, bytes, noise."""
    return (
        str(record.step + 1),
        record.name,
        ", ".join(record.answered) or "nobody",
        refused_words(record),
        f"{record.seconds:.1f}",
        count(record.bytes_up),
        "–" if record.noise_std is None else big(record.noise_std),
    )


def member_words(member: MemberView) -> str:
    """Whether a member's node is there."""
    if member.registered is None:
        return "not known"
    if not member.registered:
        return "not registered"
    return "online" if member.online else "away"


def certificate_words(certificate: CertificateView) -> str:
    """Until when it holds."""
    if certificate.ends is None or certificate.days is None:
        return "cannot be read"
    if certificate.state == "expired":
        return f"over since {certificate.ends}"
    return f"until {certificate.ends}, {certificate.days} days"


def ago(when: datetime | None, now: datetime) -> str:
    """`3 minutes ago`."""
    if when is None:
        return "never"
    seconds = max(0, int((now - when).total_seconds()))
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "just now"
