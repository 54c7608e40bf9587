"""What keeps a client from its server, each over a real socket and told from the others."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from client.doctor import reach
from common.certificates import certificate_pem, issue, load_certificate, load_key
from common.errors import Code
from tests.client.doctor.conftest import Ward
from tests.client.enroll.shops import enrol_server

LONG_AGO = datetime.now(UTC) - timedelta(days=90)


def renewed(ward: Ward, *hosts: str, days: int, now: datetime | None = None) -> None:
    """Give the server another certificate of its own authority."""
    authority, signer = load_certificate(ward.home / "ca.pem"), load_key(ward.home / "ca_key.pem")
    key = load_key(ward.home / "tls_key.pem")
    made = issue(authority, signer, key, hosts, days=days, now=now)
    (ward.home / "tls.pem").write_bytes(certificate_pem(made))


def test_a_server_that_is_well(ward: Ward) -> None:
    with ward.serving():
        found = ward.examined(offline=False)
    assert [one.line for one in found if one.level != "ok"] == []
    (server,) = [one for one in found if one.check == "server"]
    assert "its clock agrees" in server.what


def test_nothing_listens(ward: Ward) -> None:
    found = ward.one(offline=False)
    assert (found.level, found.code) == ("fail", Code.SERVER_UNREACHABLE)
    assert found.where == f"127.0.0.1:{ward.port}"
    assert "refused" in found.what


def test_nothing_answers(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", ward.port)):
        found = ward.one(offline=False)
    assert found.code is Code.SERVER_UNREACHABLE
    assert "no answer within" in found.what


def test_the_certificate_is_over(ward: Ward) -> None:
    renewed(ward, "127.0.0.1", days=10, now=LONG_AGO)
    with ward.serving():
        found = ward.one(offline=False)
    assert found.code is Code.CERTIFICATE_INVALID
    assert "is over since 80 days" in found.what
    assert "renew" in found.remedy


def test_the_certificate_is_over_soon(ward: Ward) -> None:
    renewed(ward, "127.0.0.1", days=3)
    with ward.serving():
        found = ward.one(offline=False)
    assert (found.level, found.code) == ("warn", Code.CERTIFICATE_INVALID)


def test_the_certificate_begins_tomorrow(ward: Ward) -> None:
    """A clock a day behind looks like this."""
    renewed(ward, "127.0.0.1", days=10, now=datetime.now(UTC) + timedelta(days=1, hours=2))
    with ward.serving():
        assert ward.one(offline=False).code is Code.CLOCK_SKEW


def test_the_certificate_is_for_another_host(ward: Ward) -> None:
    renewed(ward, "shops.example", days=10)
    with ward.serving():
        found = ward.one(offline=False)
    assert found.code is Code.CERTIFICATE_INVALID
    assert "is not believed" in found.what


def test_another_server_listens_there(ward: Ward) -> None:
    enrol_server(ward.home.with_name("other"), "--port", ward.port)
    with Ward(ward.folder, ward.home.with_name("other"), ward.port).serving():
        found = ward.one(offline=False)
    assert found.code is Code.CERTIFICATE_INVALID
    assert "another authority" in found.what


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_off_by_a_day(ward: Ward, days: int) -> None:
    with ward.serving(ahead=timedelta(days=days)):
        found = ward.one(offline=False)
    assert (found.level, found.code) == ("fail", Code.CLOCK_SKEW)
    assert ("behind" if days > 0 else "ahead of") in found.what


def test_a_server_that_is_not_well(ward: Ward) -> None:
    with ward.serving(status=503):
        assert "503" in ward.one(offline=False).what


def test_what_listens_speaks_no_tls(ward: Ward) -> None:
    with socket.create_server(("127.0.0.1", ward.port)) as listening:
        import threading

        def speak() -> None:
            plain, _ = listening.accept()
            with plain:
                plain.recv(1)
                plain.sendall(b"SSH-2.0-OpenSSH_9.9\r\n" * 4)

        thread = threading.Thread(target=speak)
        thread.start()
        found = ward.one(offline=False)
        thread.join()
    assert found.code is Code.SERVER_UNREACHABLE
    assert "no TLS" in found.what


def test_no_network_is_touched_when_offline(ward: Ward) -> None:
    assert ward.trouble() == []


def test_nothing_about_the_client_is_sent(ward: Ward) -> None:
    """A handshake and one request; certificate and name of the client are not in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ward.home / "tls.pem", ward.home / "tls_key.pem")
    with socket.create_server(("127.0.0.1", ward.port)) as listening:
        import threading

        heard: list[bytes] = []

        def listen() -> None:
            plain, _ = listening.accept()
            with context.wrap_socket(plain, server_side=True) as secure:
                heard.append(secure.recv(10_000))
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=listen)
        thread.start()
        assert ward.trouble(offline=False) == []
        thread.join()
    lines = heard[0].decode().split("\r\n")
    assert lines == [
        "GET /health HTTP/1.1", f"Host: 127.0.0.1:{ward.port}", "Connection: close", "", "",
    ]  # fmt: skip
