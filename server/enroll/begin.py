"""A new server's home: authority, TLS, signing key, secret, invitation.

Guarantee:
    The home is there whole, or not at all. Keys and the secret are readable by their owner
    alone; the invitation holds public things only.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common.catalogue import Catalogue
from common.certificates import certificate_pem, issue, key_pem, make_authority, new_key
from common.enrolment.cards import Invitation
from common.enrolment.folders import new_folder, write_private
from common.enrolment.start import write_start
from common.files import write_atomic
from common.privacy.roster import Roster
from server.enroll.home import (
    CA,
    CA_KEY,
    CARDS,
    CATALOGUE,
    INVITATION,
    NODES,
    SECRET,
    TLS,
    TLS_KEY,
    write_roster,
)
from server.enroll.start_files import server_service
from server.keys import home_key

__all__ = ["AUTHORITY_DAYS", "TLS_DAYS", "begin", "superlink_address"]

AUTHORITY_DAYS: Final = 3650
"""When it ends, every client has to compare a fingerprint again."""
TLS_DAYS: Final = 397
"""A year, and a month in which to renew."""
_OPEN: Final = 0o644


def begin(
    home: Path, hosts: Sequence[str], port: int, *, catalogue: Path | None = None
) -> Invitation:
    """Lay out a server's home.

    Args:
        home: not there yet, or empty.
        hosts: names and addresses under which clients reach the server; the first is the one
            that the invitation gives.
        port: of the SuperLink, as it is reached from outside.
        catalogue: the public items, `catalogue.json` or a product file: the invitation names
            their version, and the home keeps them.

    Raises:
        ConfigError: `enroll-exists`; `config-invalid`, a host is no name and no address.
        DataError: the home cannot be written, or the catalogue cannot be read or was made from
            events.
    """
    home = home.resolve()
    items = None if catalogue is None else Catalogue.of_federation(catalogue)
    signer, key = new_key(), new_key()
    authority = make_authority(f"HushRec {hosts[0]}", signer, days=AUTHORITY_DAYS)
    certificate = issue(authority, signer, key, hosts, days=TLS_DAYS)
    with new_folder(home) as part:
        for name, private in ((CA_KEY, signer), (TLS_KEY, key)):
            write_private(part / name, key_pem(private))
        for name, public in ((CA, authority), (TLS, certificate)):
            write_atomic(part / name, certificate_pem(public), mode=_OPEN)
        write_private(part / SECRET, secrets.token_hex(32).encode())
        for folder in (CARDS, NODES):
            (part / folder).mkdir(mode=0o700)
        write_roster(part, Roster.of({}))
        invitation = Invitation.signed(
            home_key(part),
            superlink=superlink_address(hosts[0], port),
            server=home_key(part).public,
            authority=certificate_pem(authority).decode(),
            catalogue=None if items is None else items.version,
        )
        invitation.save(part / INVITATION)
        if items is not None:
            items.save(part / CATALOGUE)
        write_start(part, home, server_service(hosts[0], port))
    return invitation


def superlink_address(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an address of version 6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
