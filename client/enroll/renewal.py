"""A new node key for a client that lost the old one to somebody, and the card that says so."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from client.enroll.card import write_card
from client.enroll.node_key import NODE_KEY, make_node_key
from client.owner import Owner
from common.enrolment.cards import Card
from common.enrolment.folders import exists

__all__ = ["renew_client"]


def renew_client(
    folder: Path, *, card_only: bool = False, now: datetime | None = None
) -> tuple[Card, Path | None]:
    """Make a new node key and card; the old key gets another name and stays.

    The roster key and the ledger's are not touched: others pin the one, and the other belongs
    to its ledger.

    Args:
        folder: the client's.
        card_only: the node key is as it should be; the roster key may be new.
        now: with a zone; None asks the clock. Part of the old key's new name.

    Returns:
        the card, and where the old key is, None if there was none.

    Raises:
        ConfigError: the folder is no client's; `enroll-exists`, that name is taken.
        PolicyError: `policy-roster`, there is no roster key.
    """
    name = Owner.of(folder).settings.name
    path = folder / NODE_KEY
    kept = None
    if card_only:
        return write_card(folder, name), kept
    if path.exists():
        stamp = (datetime.now(UTC) if now is None else now).strftime("%Y%m%dT%H%M%SZ")
        kept = folder / f"{NODE_KEY}.{stamp}.old"
        if kept.exists():
            raise exists("an old key has that name", kept, "Run the command again in a moment.")
        path.rename(kept)
    make_node_key(folder)
    return write_card(folder, name), kept
