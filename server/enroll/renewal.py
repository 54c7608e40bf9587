"""A new certificate for the server's TLS, by the same authority: clients notice nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from common.certificates import (
    Certificate,
    certificate_pem,
    has_key,
    hosts_of,
    issue,
    key_pem,
    load_certificate,
    load_key,
    new_key,
)
from common.enrolment.folders import write_private
from common.errors import Code, ConfigError
from common.files import read_bytes, write_atomic
from server.enroll.begin import TLS_DAYS
from server.enroll.home import CA, CA_KEY, TLS, TLS_KEY, check_home

__all__ = ["OLD_TLS", "renew_server"]

OLD_TLS: Final = "tls.old.pem"
"""The certificate before the newest."""
_OPEN: Final = 0o644


def renew_server(
    home: Path, hosts: Sequence[str] = (), *, now: datetime | None = None
) -> Certificate:
    """Issue a certificate, and put it in the place of the old one, which stays beside it.

    The TLS key stays as it is. If its file was moved away, a new one is made: that is how a key
    that others may have seen is replaced.

    Args:
        home: the server's.
        hosts: names and addresses; none for those of the old certificate.
        now: with a zone; None asks the clock.

    Raises:
        ConfigError: `config-not-found`, no server was enrolled here; `certificate-invalid`, the
            authority is over, unreadable or has another key; `config-invalid`, a host is no
            name and no address.
        DataError: the home cannot be written.
    """
    check_home(home)
    authority, signer = load_certificate(home / CA), load_key(home / CA_KEY)
    if not has_key(authority, signer):
        raise ConfigError(
            Code.CERTIFICATE_INVALID,
            f"{CA_KEY} is not the key of {CA}.",
            where=str(home / CA_KEY),
            remedy="Restore both from one backup.",
        )
    old = load_certificate(home / TLS)
    has_one = (home / TLS_KEY).exists()
    key = load_key(home / TLS_KEY) if has_one else new_key()
    made = issue(authority, signer, key, hosts or hosts_of(old), days=TLS_DAYS, now=now)
    write_atomic(home / OLD_TLS, read_bytes(home / TLS), mode=_OPEN)
    if not has_one:
        write_private(home / TLS_KEY, key_pem(key))
    write_atomic(home / TLS, certificate_pem(made), mode=_OPEN)
    return made
