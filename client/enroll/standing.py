"""How a client's enrolment stands: keys, card, permissions, the authority that it believes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from client.data_files import EVENTS, REJECTED, DataFiles
from client.enroll.begin import CATALOGUE, INVITATION
from client.enroll.card import CARD, own_card
from client.enroll.node_key import NODE_KEY
from client.enroll.start_files import ROOTS
from client.ledger_key import KEY_NAME
from client.owner import Owner
from client.roster_key import ROSTER_KEY, load_roster_key
from client.store import CLIENT_TOML, POLICY_TOML
from common.certificates import certificate_pem, load_certificate
from common.enrolment.cards import Invitation
from common.enrolment.standing import Item, certificate_item, checked, file_items
from common.errors import Code, ConfigError

__all__ = ["client_items"]

_PRIVATE: Final = (NODE_KEY, ROSTER_KEY, POLICY_TOML, CLIENT_TOML)
_PUBLIC: Final = (CARD, INVITATION, ROOTS, CATALOGUE)
_LATER: Final = (KEY_NAME, REJECTED)
"""Private, and not in every folder: a ledger's key is made with the ledger."""
_ROOTS_END: Final = "Ask the operator for a new invitation."


def client_items(folder: Path, now: datetime) -> Sequence[Item] | None:
    """What `hushrec enroll status` shows of a client's folder; None if it is none.

    Args:
        folder: perhaps a client's.
        now: with a zone.
    """
    if not (folder / CLIENT_TOML).is_file() or not (folder / INVITATION).exists():
        return None
    data = DataFiles(folder)
    paths = [data.path(EVENTS), *(data.path(name) for name in _LATER if data.path(name).exists())]
    private = [*_PRIVATE, *(path.name for path in paths)]
    return [
        *file_items(folder, private, _PUBLIC),
        certificate_item(folder / ROOTS, now, _ROOTS_END),
        checked(folder / INVITATION, "the server", lambda: _invited(folder)),
        checked(folder / CARD, "this client; hand it out", lambda: _card(folder)),
        checked(
            folder / POLICY_TOML, "names the server, pins this client", lambda: _policy(folder)
        ),
    ]


def _invited(folder: Path) -> str:
    invitation = Invitation.load_file(folder / INVITATION)
    if invitation.authority.encode() != certificate_pem(load_certificate(folder / ROOTS)):
        raise ConfigError(
            Code.CERTIFICATE_INVALID,
            f"{ROOTS} is not the invitation's authority.",
            where=str(folder / ROOTS),
            remedy="Take the one of the invitation whose fingerprint you compared.",
        )
    return invitation.fingerprint


def _card(folder: Path) -> str:
    return own_card(folder, Owner.of(folder).settings.name).fingerprint


def _policy(folder: Path) -> None:
    owner = Owner.of(folder)
    policy, name = owner.policy, owner.settings.name
    server = Invitation.load_file(folder / INVITATION).server
    if policy.servers and server not in policy.servers:
        raise _unfit(folder, "`servers` does not name the invitation's server", "Add its key.")
    if policy.roster and policy.roster.get(name) != load_roster_key(folder).public:
        raise _unfit(
            folder, "[roster] has not this client with its key", "Run `hushrec roster` here."
        )


def _unfit(folder: Path, what: str, remedy: str) -> ConfigError:
    where = str(folder / POLICY_TOML)
    return ConfigError(Code.CONFIG_INVALID, f"{what}.", where=where, remedy=remedy)
