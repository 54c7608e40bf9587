"""An enrolled client whose server is a TLS socket of the test's own, with the home's real files."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from client.doctor.command import examine
from client.doctor.findings import Finding
from client.store import POLICY_TOML
from common.bundle import build_bundle, bundle_sha256
from tests.client.enroll.shops import enrol_client, enrol_server, write_data
from tests.client.launcher.deployment import free_port


@dataclass(frozen=True)
class Ward:
    """A client and its server's home.

    Attributes:
        folder: the client's.
        home: the server's.
        port: that the invitation names.
    """

    folder: Path
    home: Path
    port: int

    def examined(self, *, now: datetime | None = None, offline: bool = True) -> list[Finding]:
        return examine(self.folder, now or datetime.now(UTC), offline=offline)

    def trouble(self, *, now: datetime | None = None, offline: bool = True) -> list[Finding]:
        """Everything that is not in order."""
        return [one for one in self.examined(now=now, offline=offline) if one.level != "ok"]

    def one(self, *, now: datetime | None = None, offline: bool = True) -> Finding:
        """The only thing that is not in order."""
        found = self.trouble(now=now, offline=offline)
        assert len(found) == 1, [one.line for one in found]
        return found[0]

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        path = self.folder / name
        path.write_text(change(path.read_text()))

    @contextmanager
    def serving(self, *, status: int = 200, ahead: timedelta | None = None) -> Iterator[None]:
        """Something that listens where the server should, with the certificate of the home."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.home / "tls.pem", self.home / "tls_key.pem")
        with ThreadingHTTPServer(("127.0.0.1", self.port), _handler(status, ahead)) as server:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


def _handler(status: int, ahead: timedelta | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            now = datetime.now(UTC) + (ahead or timedelta(0))
            return format_datetime(now, usegmt=True)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="session")
def _ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    base, port = tmp_path_factory.mktemp("ward"), free_port()
    write_data(base)
    server = enrol_server(base / "server", "--port", port)
    enrol_client(base / "north", "north", server)
    return Ward(base / "north", base / "server", port)


@pytest.fixture
def ward(_ward: Ward, tmp_path: Path) -> Ward:
    """A client in order, but for what the test does to it."""
    folder, home = tmp_path / "north", tmp_path / "server"
    shutil.copytree(_ward.folder, folder)
    shutil.copytree(_ward.home, home)
    (folder / "rejected.csv").unlink()
    found, listed = Ward(folder, home, _ward.port), bundle_sha256(build_bundle())
    found.edit(POLICY_TOML, lambda text: text.replace("bundles = []", f'bundles = ["{listed}"]'))
    return found
