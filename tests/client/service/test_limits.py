"""Connections: how many there are, and which ones are closed. By bare sockets, as anybody could."""

import socket
from contextlib import ExitStack

import pytest

from client.service.limits import Limits
from tests.client.launcher.deployment import until
from tests.client.service.shop import deliver, make_shop, serving

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""The preface of HTTP/2 and empty settings."""
LONG = {"handshake_seconds": 600.0, "idle_seconds": 600.0, "age_seconds": 600.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = make_shop(tmp_path_factory.mktemp("limits") / "north")
    deliver(made)
    return made


def connected(place):
    host, port = place.split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def is_closed(made):
    """Read until the other side hangs up; an error after a minute."""
    try:
        while made.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    ("bound", "greeting"),
    [("handshake_seconds", b""), ("idle_seconds", GREETING), ("age_seconds", GREETING)],
    ids=["silent", "idle", "old"],
)
def test_a_connection_that_does_nothing_is_closed(folder, bound, greeting):
    limits = Limits(**(LONG | {bound: 0.5, "grace_seconds": 0.5}))
    with serving(folder, limits=limits) as (_, caller), connected(caller.place) as made:
        made.sendall(greeting)
        assert is_closed(made)
        assert caller.recommend("u1").items


def test_connections_are_counted_and_a_place_that_is_free_is_given_again(folder):
    limits = Limits(**LONG, connections=2)
    with serving(folder, limits=limits) as (_, caller), ExitStack() as open_:
        assert caller.recommend("u1").items
        second = open_.enter_context(connected(caller.place))
        second.sendall(GREETING)
        assert second.recv(1)  # it is taken
        third = open_.enter_context(connected(caller.place))
        assert is_closed(third)
        assert caller.recommend("u1").items
        second.close()
        until(lambda: _is_taken(caller.place), "a connection to be free")


def _is_taken(place):
    with connected(place) as made:
        made.sendall(GREETING)
        try:
            return bool(made.recv(1))
        except ConnectionResetError:
            return False
