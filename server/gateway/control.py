"""The operator's calls to the server: start a run, look at it, stop it. With the token, by TLS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeVar

import httpx
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import ListRunsRequest, StartRunRequest, StopRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

from common.address import Address
from common.bundle import bundle_sha256
from common.errors import Code, ConfigError, HushRecError, RunError
from server.gateway.folder import ServerFolder

__all__ = ["Control", "RunState", "operator_client"]

_Answer = TypeVar("_Answer")
_FINISHED: Final = "finished"
_STOPPED: Final = "stopped"
_WAITING: Final = frozenset({"pending", "starting"})
_NOT_RUNNING: Final = frozenset({404, 412})
_TOO_BUSY: Final = frozenset({502, 503, 504})


@dataclass(frozen=True)
class RunState:
    """How Flower says that a run is.

    Attributes:
        status: `pending`, `starting`, `running` or `finished`.
        details: of how it ended, empty before.
    """

    status: str
    details: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, however."""
        return self.status == _FINISHED

    @property
    def was_stopped(self) -> bool:
        """Whether somebody stopped it on purpose."""
        return self.is_finished and self.details.startswith(_STOPPED)

    @property
    def is_waiting(self) -> bool:
        """Whether no process works on it yet."""
        return self.status in _WAITING


@dataclass(frozen=True)
class Control:
    """The inside of one server. Every call is a connection of its own: servers come and go.

    Attributes:
        folder: the server's, with its token and the certificate of the inside.
        inside: where Control is.
    """

    folder: ServerFolder
    inside: Address

    def start(self, bundle: bytes, settings: Mapping[str, str]) -> int:
        """Start a run of the bundle; Flower's id of it.

        Args:
            bundle: the app bundle's bytes.
            settings: the run configuration.

        Raises:
            RunError: `server-unreachable`; `internal`, Flower refuses the run.
            ConfigError: `config-invalid`, the server takes another token.
        """
        request = StartRunRequest(
            fab=Fab(hash_str=bundle_sha256(bundle), content=bundle),
            override_config=user_config_to_proto(dict(settings)),
        )
        return int(self._called(lambda client: client.StartRun(request)).run_id)

    def state(self, run_id: int) -> RunState | None:
        """How a run is; None if Flower does not know it.

        Raises:
            RunError: `server-unreachable`.
        """
        request = ListRunsRequest(run_id=run_id)
        try:
            runs = self._called(lambda client: client.ListRuns(request)).run_dict
        except _UnknownRunError:
            return None
        if run_id not in runs:
            return None
        found = runs[run_id].status
        ended = ": ".join(part for part in (found.sub_status, found.details) if part)
        return RunState(str(found.status), ended)

    def stop(self, run_id: int) -> None:
        """Stop a run; nothing where it has ended or is not known.

        Raises:
            RunError: `server-unreachable`.
        """
        try:
            self._called(lambda client: client.StopRun(StopRunRequest(run_id=run_id)))
        except _UnknownRunError:
            return

    def _called(self, call: Callable[[ControlHttpClient], _Answer]) -> _Answer:
        try:
            with closing(operator_client(self.folder, str(self.inside))) as client:
                return call(client)
        except httpx.HTTPStatusError as error:
            raise _refused(error, str(self.inside)) from None
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise RunError(
                Code.SERVER_UNREACHABLE,
                f"the server's inside does not answer: {type(error).__name__}.",
                where=str(self.inside),
                remedy="Start it with `hushrec server run`, or say --inside.",
            ) from None


def operator_client(
    folder: ServerFolder, inside: str, roots: bytes | None = None
) -> ControlHttpClient:
    """Flower's own client of Control, with the operator's token; whoever makes it closes it.

    Args:
        folder: the server's, with its token and the certificate of the inside.
        inside: where Control is, IP:PORT.
        roots: PEM of what the server's certificate is checked by; None takes the inside's own.
    """
    return ControlHttpClient.from_server_address(
        inside,
        insecure=False,
        root_certificates=folder.inside.certificate.read_bytes() if roots is None else roots,
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="flwr CLI"),
            _Bearing(folder.operator_token()),
        ],
    )


class _UnknownRunError(RunError):
    """Flower does not know the run, or it has ended."""


class _Bearing:
    """Adds the operator's token to a call, as `flwr` does."""

    def __init__(self, token: str) -> None:
        self._token = token

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        context.request.headers["Authorization"] = f"Bearer {self._token}"
        return call_next(context)


def _refused(error: httpx.HTTPStatusError, where: str) -> HushRecError:
    status = error.response.status_code
    if status in _TOO_BUSY:
        return RunError(
            Code.SERVER_UNREACHABLE, f"the server's inside answers {status}.", where=where
        )
    if status in (401, 403):
        return ConfigError(
            Code.CONFIG_INVALID,
            "the server does not take the operator's token.",
            where=where,
            remedy="Another server listens there, or operator.token was replaced: start it again.",
        )
    kind = _UnknownRunError if status in _NOT_RUNNING else RunError
    said = error.response.text[:300]
    return kind(Code.INTERNAL, f"Flower refuses with status {status}: {said}", where=where)
