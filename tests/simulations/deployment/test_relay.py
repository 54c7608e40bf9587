"""Relays in front of a real server: what passes, what does not, and from where it comes."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from simulations.deployment.relay import Relay, Relays, Weather

ADDRESS = "127.0.0.21"
SOON = 20.0


class Echo(socketserver.BaseRequestHandler):
    """Says where a connection comes from, then what it hears."""

    def handle(self) -> None:
        self.request.sendall(f"{self.client_address[0]}\n".encode())
        while heard := self.request.recv(65_536):
            self.request.sendall(heard)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A reset is what these tests are about."""


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Server(("127.0.0.1", 0), Echo) as server, Relays() as relays:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield relays.add("north", ADDRESS, 0, ("127.0.0.1", server.server_address[1]))
        finally:
            server.shutdown()
            thread.join()


def connect(relay: Relay) -> socket.socket:
    """A connection that has heard the server's first line."""
    found = socket.create_connection((relay.address, relay.port), timeout=SOON)
    assert heard(found, len(ADDRESS) + 1) == f"{ADDRESS}\n".encode()
    return found


def heard(sock: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := sock.recv(size - len(found))):
        found += piece
    return found


def silent(sock: socket.socket) -> bool:
    """Whether nothing comes for a moment."""
    sock.settimeout(0.2)
    try:
        return sock.recv(1) == b"?"
    except TimeoutError:
        return True
    finally:
        sock.settimeout(SOON)


def test_bytes_pass_both_ways_and_come_from_the_shops_address(relay: Relay) -> None:
    with closing(connect(relay)) as sock:
        sent = bytes(range(256)) * 1000
        threading.Thread(target=sock.sendall, args=(sent,)).start()
        assert heard(sock, len(sent)) == sent
        assert relay.connections == 1
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""  # the end is passed on as well


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_a_cut_ends_what_is_open_and_nothing_else(relay: Relay, reset: bool) -> None:
    with closing(connect(relay)) as sock:
        assert relay.cut(reset=reset) == 1
        if reset:
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        else:
            assert sock.recv(1) == b""
    connect(relay).close()


def test_a_relay_that_refuses_resets_every_new_connection(relay: Relay) -> None:
    with closing(connect(relay)) as old:
        relay.set(Weather(refuse=True))
        with (
            pytest.raises(ConnectionResetError),
            socket.create_connection((relay.address, relay.port), timeout=SOON) as new,
        ):
            new.recv(1)
        old.sendall(b"still")
        assert heard(old, 5) == b"still"
    relay.heal()
    connect(relay).close()


def test_what_is_held_passes_when_it_is_healed(relay: Relay) -> None:
    with closing(connect(relay)) as sock:
        relay.set(Weather(hold=True))
        sock.sendall(b"later")
        assert silent(sock)
        relay.heal()
        assert heard(sock, 5) == b"later"


@pytest.mark.parametrize(
    "weather",
    [Weather(delay_seconds=1000.0), Weather(bytes_per_second=0.001)],
    ids=["delay", "throttle"],
)
def test_slow_pieces_pass_at_once_when_it_is_healed(relay: Relay, weather: Weather) -> None:
    with closing(connect(relay)) as sock:
        relay.set(weather)
        sock.sendall(b"slow")
        assert silent(sock)
        relay.heal()
        assert heard(sock, 4) == b"slow"


def test_slow_pieces_pass_in_the_end(relay: Relay) -> None:
    with closing(connect(relay)) as sock:
        relay.set(Weather(delay_seconds=0.01, bytes_per_second=10_000))
        sock.sendall(b"x" * 500)
        assert heard(sock, 500) == b"x" * 500


def test_a_server_that_is_down_is_a_reset_for_the_shop() -> None:
    with socket.socket() as unused, Relays() as relays:
        unused.bind(("127.0.0.1", 0))
        relay = relays.add("north", ADDRESS, 0, ("127.0.0.1", unused.getsockname()[1]))
        with (
            pytest.raises(ConnectionResetError),
            socket.create_connection((relay.address, relay.port), timeout=SOON) as sock,
        ):
            sock.recv(1)


def test_the_end_of_all_relays_ends_their_connections(relay: Relay) -> None:
    with socket.socket() as here, Relays() as relays:
        here.bind(("127.0.0.1", 0))
        here.listen()
        other = relays.add("south", ADDRESS, 0, here.getsockname())
        sock = socket.create_connection((other.address, other.port), timeout=SOON)
        accepted, address = here.accept()
        assert address[0] == ADDRESS
    with closing(sock), closing(accepted), pytest.raises(ConnectionResetError):
        sock.recv(1)
