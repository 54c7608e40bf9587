"""How much of this machine whoever reaches the port may hold, and how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Limits"]

_LARGEST_BYTES: Final = 4 * 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of a service that no option changes. Times are in seconds.

    Attributes:
        request_seconds: from a call's beginning until its request is there.
        checks: health checks that wait for their request at a time.
        spare: calls beside those that are taken on: health checks and refusals.
        connections: open at a time; further ones are closed.
        streams: calls of one connection at a time; its own gRPC keeps further ones back.
        handshake_seconds: for TLS and the first words of HTTP/2.
        idle_seconds: a connection without calls is closed.
        age_seconds: a connection gets no more calls; gRPC opens another one.
        grace_seconds: that the calls of such a connection still have.
        silence_seconds: of a connection, before it is asked whether it is still there.
        echo_seconds: for the answer to that.
    """

    request_seconds: float = 10.0
    checks: int = 8
    spare: int = 16
    connections: int = 256
    streams: int = 256
    handshake_seconds: float = 10.0
    idle_seconds: float = 300.0
    age_seconds: float = 1800.0
    grace_seconds: float = 30.0
    silence_seconds: float = 60.0
    echo_seconds: float = 20.0

    def options(self) -> tuple[tuple[str, int], ...]:
        """The same in gRPC's words."""
        return (
            ("grpc.so_reuseport", 0),  # else two services share a port unnoticed
            ("grpc.max_receive_message_length", _LARGEST_BYTES),
            ("grpc.max_allowed_incoming_connections", self.connections),
            ("grpc.max_concurrent_streams", self.streams),
            ("grpc.server_handshake_timeout_ms", _milliseconds(self.handshake_seconds)),
            ("grpc.max_connection_idle_ms", _milliseconds(self.idle_seconds)),
            ("grpc.max_connection_age_ms", _milliseconds(self.age_seconds)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(self.grace_seconds)),
            ("grpc.keepalive_time_ms", _milliseconds(self.silence_seconds)),
            ("grpc.keepalive_timeout_ms", _milliseconds(self.echo_seconds)),
            ("grpc.keepalive_permit_without_calls", 1),
        )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
