"""How a server's enrolment stands: certificates, keys, permissions, members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from common.certificates import has_key, is_issued_by, load_certificate, load_key
from common.enrolment.standing import Item, certificate_item, checked, file_items
from common.errors import Code, ConfigError
from common.privacy.signing import SigningKey
from server.enroll.home import (
    CA,
    CA_KEY,
    CARDS,
    INVITATION,
    LATER,
    NODES,
    PRIVATE,
    PUBLIC,
    ROSTER,
    TLS,
    TLS_KEY,
    invitation_of,
    members,
    read_roster,
)
from server.keys import SERVER_KEY

__all__ = ["server_items"]

_TLS_END: Final = "Renew it with `hushrec enroll renew server`."
_CA_END: Final = "Begin a new home and send new invitations."


def server_items(home: Path, now: datetime) -> Sequence[Item] | None:
    """What `hushrec enroll status` shows of a server's home; None if it is none.

    Args:
        home: perhaps a server's.
        now: with a zone.
    """
    if not (home / INVITATION).exists() or not (home / CARDS).is_dir():
        return None
    later = [name for name in LATER if (home / name).exists()]
    files = file_items(home, [*PRIVATE, *later], PUBLIC)
    if any(item.state == "missing" for item in files):
        return files
    return [
        *files,
        certificate_item(home / CA, now, _CA_END),
        certificate_item(home / TLS, now, _TLS_END),
        checked(home / TLS_KEY, "key and certificate of one authority", lambda: _pairs(home)),
        checked(home / INVITATION, "send it to clients", lambda: _invited(home)),
        checked(home / ROSTER, "the roster of all cards", lambda: _roster(home)),
    ]


def _pairs(home: Path) -> None:
    authority, certificate = load_certificate(home / CA), load_certificate(home / TLS)
    if not has_key(authority, load_key(home / CA_KEY)):
        raise _unfit(home / CA_KEY, f"is not the key of {CA}")
    if not has_key(certificate, load_key(home / TLS_KEY)):
        raise _unfit(home / TLS_KEY, f"is not the key of {TLS}")
    if not is_issued_by(certificate, authority):
        raise _unfit(home / TLS, f"is not signed by {CA}")


def _invited(home: Path) -> str:
    invitation = invitation_of(home)
    if invitation.server != SigningKey.load(home / SERVER_KEY).public:
        raise _unfit(home / INVITATION, f"does not name the key in {SERVER_KEY}")
    if invitation.authority != (home / CA).read_text():
        raise _unfit(home / INVITATION, f"does not hold {CA}")
    return invitation.fingerprint


def _roster(home: Path) -> None:
    known = members(home)
    if dict(read_roster(home).keys) != {name: card.roster_key for name, card in known.items()}:
        raise _unfit(home / ROSTER, "is not the roster of the cards")
    for name, card in known.items():
        path = home / NODES / f"{name}.pub"
        if not path.is_file() or path.read_text().strip() != card.transport_key:
            raise _unfit(path, "is not the transport key of its card")


def _unfit(path: Path, what: str) -> ConfigError:
    return ConfigError(
        Code.CERTIFICATE_INVALID,
        f"{path.name} {what}.",
        where=str(path),
        remedy="Restore the files of one backup; cards can be added again.",
    )
