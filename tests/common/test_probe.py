"""Whether something is well is told by one request, and by an exit status."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from common.address import Address
from common.certificates import certificate_pem, issue, key_pem, make_authority, new_key
from common.http_pages import Answer, PageServer
from common.probe import is_well, main


@contextmanager
def serving(server: PageServer) -> Iterator[int]:
    with server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def made() -> PageServer:
    pages = {"/health": Answer, "/ill": lambda: Answer(status=503), "/moved": lambda: Answer(status=302)}  # fmt: skip # noqa: E501
    return PageServer(Address("127.0.0.1", 0), pages)


def test_an_exit_status_tells() -> None:
    with serving(made()) as port:
        at = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-I", "-m", "common.probe", f"{at}/health"]
        assert subprocess.run(command, check=False, timeout=60).returncode == 0
        assert main([f"{at}/ill"]) == main([f"{at}/moved"]) == main([f"{at}/none"]) == 1
    assert main([f"{at}/health"]) == 1


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/", "http://[::1", "http://127.0.0.1:x/"])
def test_what_is_no_address_is_not_well(url: str) -> None:
    assert not is_well(url)


def test_rubbish_is_not_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            there, _ = listening.accept()
            with there:
                there.recv(1000)
                there.sendall(b"rubbish\r\n\r\n")

        thread = Thread(target=answer)
        thread.start()
        assert not is_well(f"http://127.0.0.1:{listening.getsockname()[1]}/health")
        thread.join()


def test_over_tls_it_believes_the_authority_alone(tmp_path: Path) -> None:
    signer, key = new_key(), new_key()
    authority = make_authority("test", signer, days=2)
    (tmp_path / "ca.pem").write_bytes(certificate_pem(authority))
    (tmp_path / "tls.pem").write_bytes(
        certificate_pem(issue(authority, signer, key, ["127.0.0.1"], days=1)) + key_pem(key)
    )
    (tmp_path / "other.pem").write_bytes(certificate_pem(make_authority("test", key, days=2)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.pem")
    server = made()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as port:
        at = f"https://127.0.0.1:{port}/health"
        assert is_well(at, tmp_path / "ca.pem")
        assert not is_well(at, tmp_path / "other.pem")
        assert not is_well(at, tmp_path / "missing.pem")
        assert not is_well(at)
        assert not is_well(at.replace("127.0.0.1", "localhost"), tmp_path / "ca.pem")
