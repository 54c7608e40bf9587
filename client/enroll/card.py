"""A client's card: its name and public keys, in its folder, to be handed out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from client.enroll.node_key import node_line
from client.roster_key import load_roster_key
from common.enrolment.cards import Card
from common.errors import Code, ConfigError

__all__ = ["CARD", "own_card", "write_card"]

CARD: Final = "card.json"


def write_card(folder: Path, name: str) -> Card:
    """Make the card of a client's keys and write it; an older one is replaced.

    Raises:
        PolicyError: `policy-roster`, there is no roster key.
        ConfigError: there is no node key, or `name` cannot be a client's.
        DataError: the folder cannot be written.
    """
    key = load_roster_key(folder)
    card = Card.signed(key, name=name, transport_key=node_line(folder), roster_key=key.public)
    card.save(folder / CARD)
    return card


def own_card(folder: Path, name: str) -> Card:
    """The card that lies in a client's folder, if it is that of its name and keys.

    Raises:
        ConfigError: `enroll-card`, it is not; or it cannot be read.
        PolicyError: `policy-roster`, there is no roster key.
    """
    card = Card.load_file(folder / CARD)
    now = (name, node_line(folder), load_roster_key(folder).public)
    if (card.name, card.transport_key, card.roster_key) != now:
        raise ConfigError(
            Code.ENROLL_CARD,
            "the card does not have this client's name and keys.",
            where=str(folder / CARD),
            remedy="Make a new one with `hushrec enroll renew client`, and hand that out.",
        )
    return card
