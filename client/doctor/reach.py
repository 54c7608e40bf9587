"""The server: does something listen, is it the server, is it well, does its clock agree.

Nothing about this client is sent: a connection, a TLS handshake and `GET /health`.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from client.doctor.findings import Finding, Patient, fail, fine, warn
from client.enroll.begin import INVITATION
from client.enroll.start_files import ROOTS
from client.launcher.endings import clock_skew, skew_of
from client.launcher.shown import distrusted
from common.certificates import load_certificate
from common.enrolment.cards import Invitation
from common.errors import Code, HushRecError

__all__ = ["check_server"]

_SECONDS: Final = 5.0
_ENDS_SOON: Final = timedelta(days=14)
_AWAY: Final = "The node tries again by itself. If it lasts, ask the operator."


def check_server(patient: Patient) -> Iterator[Finding]:
    """The server that the invitation names, one step after the other, up to the first failure."""
    folder = patient.folder
    if not (folder / INVITATION).exists():
        return
    address = Invitation.load_file(folder / INVITATION).superlink
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SECONDS) as plain:
            yield from _over_tls(plain, host.strip("[]"), address, patient)
    except ssl.SSLCertVerificationError as error:
        yield _distrusted(error, address, folder / ROOTS)
    except OSError as error:
        yield fail(_said(error), address, _remedy(error), Code.SERVER_UNREACHABLE)


def _over_tls(plain: socket.socket, host: str, address: str, patient: Patient) -> Iterator[Finding]:
    context = ssl.create_default_context(cafile=str(patient.folder / ROOTS))
    with context.wrap_socket(plain, server_hostname=host) as secure:
        shown = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
        left = shown.not_valid_after_utc - patient.now
        if left < _ENDS_SOON:
            said = f"the server's certificate ends in {left.days} days"
            remedy = "Remind the operator: `hushrec enroll renew server`."
            yield warn(said, address, remedy, Code.CERTIFICATE_INVALID)
        yield from _health(secure, address)


def _health(secure: ssl.SSLSocket, address: str) -> Iterator[Finding]:
    """Ask the gateway how it is; its answer has a `Date`."""
    host = address.encode("ascii", "replace")
    secure.sendall(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    answer = http.client.HTTPResponse(secure, method="GET")
    try:
        answer.begin()
    except (http.client.HTTPException, ValueError):
        yield fail("what listens there speaks no HTTP", address, _AWAY, Code.SERVER_UNREACHABLE)
        return
    skew = skew_of(answer.headers.get("date"))
    if skew:
        yield _finding(clock_skew(address, skew))
    if answer.status != http.client.OK:
        said = f"the server is not well: HTTP status {answer.status}"
        yield fail(said, address, _AWAY, Code.SERVER_UNREACHABLE)
    elif not skew:
        compared = "agrees" if answer.headers.get("date") else "was not said"
        yield fine(
            f"answers, and is the one that ca.pem vouches for; its clock {compared}", address
        )


def _distrusted(error: ssl.SSLCertVerificationError, address: str, roots: Path) -> Finding:
    try:
        return _finding(distrusted(address, error, [load_certificate(roots)]))
    except HushRecError as unreadable:
        return _finding(unreadable)


def _said(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_SECONDS:.0f} seconds"
    if isinstance(error, socket.gaierror):
        return "no address is known for this name"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there: the connection is refused"
    if isinstance(error, ssl.SSLError):
        return f"what listens there speaks no TLS that is understood here ({error.reason})"
    return f"cannot be reached: {error.strerror or error}"


def _remedy(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "A firewall may drop it, or the machine is off. Ask the operator."
    if isinstance(error, socket.gaierror):
        return "Look at the name in invitation.json, and at this machine's DNS."
    if isinstance(error, ConnectionRefusedError):
        return "The server is down, or the port is wrong. Ask the operator."
    return _AWAY


def _finding(error: HushRecError) -> Finding:
    return fail(error.message, error.where, error.remedy, error.code)
