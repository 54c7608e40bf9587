"""A server's home as enrolment lays it out: names of its files, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from common.config import Settings, read_toml
from common.enrolment.cards import Card, Invitation
from common.errors import Code, ConfigError
from common.files import write_atomic
from common.privacy.roster import ClientName, Roster
from common.privacy.signing import PublicKey
from server.keys import SERVER_KEY

__all__ = [
    "CA",
    "CARDS",
    "CATALOGUE",
    "CA_KEY",
    "INVITATION",
    "LATER",
    "NODES",
    "PRIVATE",
    "PUBLIC",
    "REVOKED",
    "ROSTER",
    "SECRET",
    "TLS",
    "TLS_KEY",
    "check_home",
    "invitation_of",
    "members",
    "read_roster",
    "write_roster",
]  # fmt: skip

CA: Final = "ca.pem"
CA_KEY: Final = "ca_key.pem"
TLS: Final = "tls.pem"
TLS_KEY: Final = "tls_key.pem"
SECRET: Final = "superexec.secret"  # noqa: S105  the name of a file
INVITATION: Final = "invitation.json"
ROSTER: Final = "roster.toml"
CARDS: Final = "cards"
"""Folder of the cards of all members, NAME.json."""
CATALOGUE: Final = "catalogue.json"
"""The public items; there where the operator named them, and needed to train."""
NODES: Final = "nodes"
"""Folder of their transport keys, NAME.pub: what `flwr supernode register` takes."""
REVOKED: Final = "revoked"
"""Folder of cards that were taken out."""
PRIVATE: Final = (SERVER_KEY, CA_KEY, TLS_KEY, SECRET)
PUBLIC: Final = (CA, TLS, INVITATION, ROSTER)
LATER: Final = ("operator.token", "inside.key")
"""Private, and made when the server first runs."""
_OPEN: Final = 0o644


class _RosterFile(Settings):
    roster: dict[ClientName, PublicKey]


def check_home(home: Path) -> None:
    """Refuse a folder that enrolment has not laid out.

    Raises:
        ConfigError: `config-not-found`.
    """
    if not (home / INVITATION).is_file() or not (home / CA_KEY).is_file():
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            "no server was enrolled here.",
            where=str(home),
            remedy="`hushrec enroll server DIR --host NAME` lays a home out.",
        )


def invitation_of(home: Path) -> Invitation:
    """The server's own invitation.

    Raises:
        ConfigError: it cannot be read, or was changed.
    """
    return Invitation.load_file(home / INVITATION)


def members(home: Path) -> dict[str, Card]:
    """Cards of all members by name, in order of name.

    Raises:
        ConfigError: one cannot be read or was changed.
    """
    cards = [Card.load_file(path) for path in (home / CARDS).glob("*.json")]
    return {card.name: card for card in sorted(cards, key=lambda card: card.name)}


def read_roster(home: Path) -> Roster:
    """The server's `roster.toml`.

    Raises:
        ConfigError: it cannot be read.
        PolicyError: `policy-roster`, two members share a key.
    """
    path = home / ROSTER
    return Roster.of(_RosterFile.load(read_toml(path), where=str(path)).roster)


def write_roster(home: Path, roster: Roster) -> None:
    """Write `roster.toml`: the table that stands in every client's policy.

    Raises:
        DataError: it cannot be written.
    """
    lines = [f'"{name}" = "{key}"\n' for name, key in roster.keys.items()]
    write_atomic(home / ROSTER, "".join(["[roster]\n", *lines]).encode(), mode=_OPEN)
