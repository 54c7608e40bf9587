"""The certificate that a server shows which is not trusted: looked at, to say what is wrong."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from cryptography import x509

from client.launcher.endings import bad_certificate
from common.certificates import Certificate, is_issued_by
from common.errors import ConfigError

__all__ = ["distrusted"]

_SECONDS: Final = 5.0


def distrusted(
    address: str, error: ssl.SSLCertVerificationError, roots: Sequence[Certificate] | None
) -> ConfigError:
    """Why a server's certificate is not taken.

    Connects once more, without a check, and sends nothing but the handshake.

    Args:
        address: host and port.
        error: of the connection that checked it.
        roots: whom the server is believed by; None if it is not known.
    """
    shown = _shown(address)
    signed = None
    if shown is not None and roots is not None:
        signed = any(is_issued_by(shown, root) for root in roots)
    return bad_certificate(address, shown, error.verify_message, by_authority=signed)


def _shown(address: str) -> Certificate | None:
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        suppress(OSError, ValueError),
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host.strip("[]")) as seen,
    ):
        return x509.load_der_x509_certificate(seen.getpeercert(binary_form=True) or b"")
    return None
