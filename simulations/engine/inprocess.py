"""A grid that calls the real ClientApp in this process: no Ray, no threads, starts at once.

Messages are copied deeply on the way out and back, so that nothing is shared but what is
sent, and a reply is made only when the server asks for the next one: one client's release
is in memory at a time.
"""

from __future__ import annotations

import copy
import logging
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from client.app import make_app as make_client_app
from common.errors import Code, ProtocolError
from server.app import make_app as make_server_app
from server.record import Observer
from simulations.engine.folders import client_folders
from simulations.engine.interrupt import interrupts_deferred

__all__ = ["InProcessEngine", "InProcessGrid"]

SERVER_NODE: Final = 1
CLIENT_RAISED: Final = 3  # flwr's ErrorCode.CLIENT_APP_RAISED_EXCEPTION
_LOG = logging.getLogger(__name__)


class InProcessGrid(Grid):
    """Delivers messages to one ClientApp under the identity of many nodes.

    Args:
        client_app: the real app.
        folders: each client's folder; its node id is its position plus 2.
    """

    def __init__(self, client_app: ClientApp, folders: Iterable[Path]) -> None:
        self._app = client_app
        self._run = Run.create_empty(run_id=secrets.randbits(62))
        TaskIdentity.run_id = self._run.run_id
        TaskIdentity.task_id = 1
        TaskIdentity.node_id = SERVER_NODE
        self._contexts = {
            SERVER_NODE + 1 + position: self._context(SERVER_NODE + 1 + position, folder)
            for position, folder in enumerate(folders)
        }
        self._waiting: dict[str, Message] = {}

    def _context(self, node_id: int, folder: Path) -> Context:
        return Context(
            run_id=self._run.run_id,
            node_id=node_id,
            node_config={"home": str(folder)},
            state=RecordDict(),
            run_config={},
        )

    def set_run(self, run: Run) -> None:
        """Use another run's identity."""
        self._run = run

    @property
    def run(self) -> Run:
        """Run information."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message; the `Message` constructor is the newer way."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes, in order."""
        return list(self._contexts)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """All nodes, as Flower describes them."""
        return [NodeInfo(node_id=node) for node in self._contexts]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Accept messages; they are delivered when their replies are pulled.

        Raises:
            ProtocolError: `protocol-invalid`, no node has that id.
        """
        identifiers = []
        for message in messages:
            if message.metadata.dst_node_id not in self._contexts:
                raise ProtocolError(
                    Code.PROTOCOL_INVALID,
                    f"no node {message.metadata.dst_node_id}.",
                    where="in-process grid",
                )
            sent = copy.deepcopy(message)
            sent.metadata.__dict__["_message_id"] = str(uuid4())
            self._waiting[sent.metadata.message_id] = sent
            identifiers.append(sent.metadata.message_id)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Deliver the named messages and return their replies."""
        return [self._deliver(self._waiting.pop(i)) for i in message_ids if i in self._waiting]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Deliver each message when its reply is asked for; `timeout` has nothing to wait for."""
        del timeout
        for message in messages:
            (identifier,) = self.push_messages([message])
            yield self._deliver(self._waiting.pop(identifier))

    def _deliver(self, message: Message) -> Message:
        """Call the app as Flower does: an exception becomes an error message."""
        try:
            with interrupts_deferred():
                reply = self._app(message, self._contexts[message.metadata.dst_node_id])
        except Exception:  # noqa: BLE001 — as Flower's own engines do
            _LOG.exception("the ClientApp let an exception through")
            return Message(Error(code=CLIENT_RAISED, reason=""), reply_to=message)
        return copy.deepcopy(reply)


class InProcessEngine:
    """Runs a prepared folder in this process."""

    def run(self, run: Path, observer: Observer) -> None:
        """Run the job in `run`, or what remains of it.

        Raises:
            RunError: the job cannot start or go on.
        """
        grid = InProcessGrid(make_client_app(simulation=True), client_folders(run))
        context = Context(grid.run.run_id, SERVER_NODE, {}, RecordDict(), {})
        make_server_app(run, observer)(grid, context)
