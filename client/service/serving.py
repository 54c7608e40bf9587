"""The service as a process: where it listens, its bounds, and how it ends."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from client.service.access import Access
from client.service.desk import Desk
from client.service.limits import Limits
from client.service.reception import Reception
from client.service.servicer import Servicer
from client.service.token import Token
from client.service.v1 import recommender_pb2_grpc
from common.address import Address
from common.errors import Code, ConfigError

__all__ = ["DEFAULT_LISTEN", "NAME", "Listening", "Service"]

DEFAULT_LISTEN: Final = "127.0.0.1:50051"
NAME: Final = "hushrec.v1.Recommender"
_UNIX: Final = "unix:"
_GRACE_SECONDS: Final = 10.0
_LOG: Final = logging.getLogger("hushrec.service")


@dataclass(frozen=True)
class Listening:
    """Where the service listens, and how much it takes on.

    Attributes:
        place: `IP:PORT`, or `unix:` and the path of a socket.
        certificate: PEM file with certificate and chain, for TLS.
        key: PEM file with its private key.
        workers: calls that are worked on at a time.
        concurrent: calls that are taken on at a time; further ones are refused.
        limits: what else is bounded.

    Raises:
        ConfigError: `config-invalid`, others than this machine would be answered without
            TLS, the place is none, or one of certificate and key is missing.
    """

    place: str = DEFAULT_LISTEN
    certificate: Path | None = None
    key: Path | None = None
    workers: int = 4
    concurrent: int = 64
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(
                Code.CONFIG_INVALID,
                "a certificate needs its key, and a key its certificate.",
                where="--certificate, --key",
            )
        if self.place.startswith(_UNIX):
            return
        if not Address.read(self.place).is_loopback and self.certificate is None:
            raise ConfigError(
                Code.CONFIG_INVALID,
                "other machines would send the token and customers' names in the clear.",
                where=f"--listen {self.place}",
                remedy="Listen on 127.0.0.1, or give --certificate and --key.",
            )

    def bind(self, server: grpc.Server) -> None:
        """Have a server listen there.

        Raises:
            ConfigError: `config-invalid`, it cannot; or certificate and key cannot be read.
        """
        try:
            if self.certificate is None or self.key is None:
                _bind_privately(server, self.place)
            else:
                pair = (self.key.read_bytes(), self.certificate.read_bytes())
                server.add_secure_port(self.place, grpc.ssl_server_credentials([pair]))
        except OSError as error:
            raise ConfigError(
                Code.CONFIG_INVALID,
                f"cannot be read: {error.strerror}.",
                where="--certificate, --key",
            ) from None
        except RuntimeError:
            raise ConfigError(
                Code.CONFIG_INVALID,
                "cannot listen: something else does, or certificate and key do not fit.",
                where=f"--listen {self.place}",
                remedy="Choose another place with --listen.",
            ) from None


def _bind_privately(server: grpc.Server, place: str) -> None:
    """Without TLS; a socket in the file system is the owner's alone."""
    before = os.umask(0o177)
    try:
        server.add_insecure_port(place)
    finally:
        os.umask(before)


class Service:
    """A running service. Use as a context manager; ends with what is being answered answered."""

    def __init__(self, folder: Path, listening: Listening) -> None:
        self.desk = Desk.open(folder)
        self._open = ExitStack()
        try:
            self._reception = Reception(listening.limits, listening.workers, listening.concurrent)
            most = listening.concurrent + listening.limits.spare
            self._health = health.HealthServicer()
            self._server = grpc.server(
                ThreadPoolExecutor(most, thread_name_prefix="service"),
                interceptors=[Access(Token.made(folder), self._reception)],
                options=listening.limits.options(),
                maximum_concurrent_rpcs=most,
            )
            add = recommender_pb2_grpc.add_RecommenderServicer_to_server
            add(Servicer(self.desk), self._server)  # type: ignore[no-untyped-call]
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            listening.bind(self._server)
        except BaseException:
            self.desk.close()
            raise

    def __enter__(self) -> Service:
        self._open.enter_context(self._reception)
        self._server.start()
        self._prepare()
        for name in ("", NAME):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return self

    def __exit__(self, *_: object) -> None:
        self._health.enter_graceful_shutdown()
        self._server.stop(_GRACE_SECONDS).wait()
        self._open.close()
        self.desk.close()

    def _prepare(self) -> None:
        """Load the model before the first call, and begin the shop's own where it is wanted."""
        try:
            self.desk.models.answering(self.desk.stock)
        except Exception as error:  # noqa: BLE001  each call says it; search needs no model
            _LOG.warning("answers that need a model have to wait: %s", error)
