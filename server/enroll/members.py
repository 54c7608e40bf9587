"""Members of a federation at its server: cards that were compared go in, and come out again.

Guarantee:
    No two members share a name or a key. What the server keeps here lets nodes in and finds
    who signs wrongly; it is no part of any promise of privacy, which clients hold by their own
    rosters.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from common.enrolment.cards import Card
from common.enrolment.folders import exists
from common.errors import Code, ConfigError
from common.files import write_atomic
from common.privacy.roster import Roster
from server.enroll.home import CARDS, NODES, REVOKED, check_home, members, write_roster

__all__ = ["add", "register_command", "revoke"]

_OPEN = 0o644


def add(home: Path, card: Card) -> tuple[bool, Roster]:
    """Make a client a member.

    Args:
        home: the server's.
        card: compared already.

    Returns:
        whether anything changed, and the roster after it.

    Raises:
        ConfigError: `enroll-exists`, another card has that name; `enroll-card`, another
            member has one of its keys; `config-not-found`, no server was enrolled here.
        DataError: the home cannot be written.
    """
    check_home(home)
    known = members(home)
    _check(known, card, home)
    changed = card.name not in known
    roster = Roster.of({one.name: one.roster_key for one in (*known.values(), card)})
    write_atomic(home / NODES / f"{card.name}.pub", f"{card.transport_key}\n".encode(), mode=_OPEN)
    card.save(home / CARDS / f"{card.name}.json")
    write_roster(home, roster)
    return changed, roster


def revoke(home: Path, name: str, *, now: datetime | None = None) -> tuple[Card, Roster]:
    """Take a member out; its card is kept among the revoked ones.

    Args:
        home: the server's.
        name: the member's.
        now: with a zone; None asks the clock. Part of the kept card's name.

    Returns:
        its card, and the roster after it.

    Raises:
        ConfigError: `config-invalid`, nobody has that name; `config-not-found`, no server was
            enrolled here.
        DataError: the home cannot be written.
    """
    check_home(home)
    known = members(home)
    if name not in known:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{name!r} is no member.",
            where=str(home / CARDS),
            remedy=f"Members: {', '.join(known) or 'none'}.",
        )
    card = known.pop(name)
    roster = Roster.of({one.name: one.roster_key for one in known.values()})
    stamp = (datetime.now(UTC) if now is None else now).strftime("%Y%m%dT%H%M%S.%fZ")
    (home / REVOKED).mkdir(mode=0o700, exist_ok=True)
    card.save(home / REVOKED / f"{name}.{stamp}.json")
    write_roster(home, roster)
    (home / NODES / f"{name}.pub").unlink(missing_ok=True)
    (home / CARDS / f"{name}.json").unlink()
    return card, roster


def register_command(home: Path, name: str) -> str:
    """Flower's command that lets the member's node in, after `hushrec server login`."""
    path = shlex.quote(str(home / NODES / f"{name}.pub"))
    return f"flwr supernode register {path} hushrec --name {shlex.quote(name)}"


def _check(known: Mapping[str, Card], card: Card, home: Path) -> None:
    """No other member with its name, or one of its keys."""
    for one in known.values():
        if one == card:
            continue
        if one.name == card.name:
            raise exists(
                f"there is another {card.name}",
                home / CARDS / f"{card.name}.json",
                f"If its keys are new: hushrec enroll revoke {home} {card.name}, then add it.",
            )
        if card.roster_key == one.roster_key or card.transport_key == one.transport_key:
            raise ConfigError(
                Code.ENROLL_CARD,
                f"{one.name} has the same key: one could take the other's place.",
                where=f"the card of {card.name}",
                remedy="Every client makes keys of its own: ask both for their cards again.",
            )
