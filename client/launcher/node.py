"""A client's node: a message in, the bundle compared, a process for the task, the answer out.

Guarantee:
    No code of a run's bundle runs: it is neither opened nor stored, and the process that
    answers gets its hash alone. A run whose bundle the policy does not list gets a code; its
    messages are not even fetched whole. Whatever comes as a bundle or a message, the node
    answers with a code, or leaves it, and takes the next one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flwr.app import Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supercore.run import RunNotRunningException

from client.launcher.bundle import Bundle, check_bundle
from client.launcher.child import run_task
from client.launcher.endings import Expelled
from client.launcher.fleet import Fleet
from client.launcher.parcel import Errand, Packed
from client.release import answer_code
from client.store import read_policy
from common.errors import Code, HushRecError
from common.logs import Public, fields
from common.public_codes import told

__all__ = ["Node"]

_LOG: Final = logging.getLogger("hushrec.launcher")
_NO_DURATION: Final = 0.0
"""Flower tells the server how long a task took; how long it took can depend on the data."""


@dataclass
class Node:
    """One client behind one SuperLink.

    Attributes:
        fleet: the connection.
        home: the client's folder.
        poll_seconds: how long to wait before asking again when there is no message.
        work: answers a message, in a process of its own.
    """

    fleet: Fleet
    home: Path
    poll_seconds: float = 3.0
    work: Callable[[Errand, Packed], Packed] = run_task
    _bundles: dict[int, Bundle] = field(default_factory=dict)

    def serve(self) -> None:
        """Answer messages until the process is told to end.

        Raises:
            Expelled: the server does not know this node any more.
        """
        while True:
            if not self.answer_next():
                time.sleep(self.poll_seconds)

    def answer_next(self) -> bool:
        """Answer one message; False if there was none."""
        received = self._received()
        if received is None:
            return False
        message, tree = received
        try:
            self._send(message, self._answer(message, tree))
        except Expelled:
            raise
        except RunNotRunningException:
            _LOG.info("run %d is over; its message is left", message.metadata.run_id)
        except Exception as error:  # noqa: BLE001  a node that died of it would die of it again
            _LOG.warning(
                "a message of run %d is left: %s",
                message.metadata.run_id,
                _line(error),
                extra=_kind(error),
            )
        return True

    def _received(self) -> tuple[Message, ObjectTree] | None:
        """The next message; None if there is none, or none that can be read."""
        try:
            return self.fleet.receive()
        except Expelled:
            raise
        except (Exception, RunNotRunningException) as error:  # noqa: BLE001  as below
            _LOG.warning("what came is left: %s", _line(error), extra=_kind(error))
            return None

    def _answer(self, message: Message, tree: ObjectTree) -> Packed:
        """What the installed app answers; a code where there is nothing else."""
        try:
            bundle = self._bundle(message.metadata.run_id)
            errand = Errand(
                home=str(self.home),
                run_id=message.metadata.run_id,
                node_id=self.fleet.node_id,
                bundle=bundle,
            )
            return self.work(errand, self._packed(message, tree, listed=self._listed(bundle)))
        except (Expelled, RunNotRunningException):
            raise
        except HushRecError as error:
            _LOG.warning("refused %s", error)
            return Packed.of(answer_code(message, told(error)))
        except Exception as error:  # noqa: BLE001  whatever it is, it has a code
            _LOG.warning("refused %s [%s]", _line(error), Code.INTERNAL, extra=_kind(error))
            return Packed.of(answer_code(message, Code.INTERNAL))

    def _bundle(self, run_id: int) -> Bundle:
        """What the run came with; asked for once, and only the hash is kept."""
        if run_id not in self._bundles:
            run = self.fleet.get_run(run_id)
            fab = self.fleet.get_fab(run.fab_hash, run_id)
            self._bundles[run_id] = Bundle.of(
                fab.content,
                named=run.fab_hash,
                delivered=fab.hash_str,
                task_type=str(run.primary_task_type),
            )
        return self._bundles[run_id]

    def _listed(self, bundle: Bundle) -> bool:
        try:
            check_bundle(read_policy(self.home), bundle)
        except HushRecError:
            return False  # the task says so, and writes the row
        return True

    def _packed(self, message: Message, tree: ObjectTree, *, listed: bool) -> Packed:
        """The message, whole if its run is listed."""
        objects: dict[str, bytes] = {}
        if listed:
            run_id = message.metadata.run_id
            ids = [one.object_id for one in iterate_object_tree(tree)]
            objects = pull_objects(ids, lambda name: self.fleet.pull_object(run_id, name))
            self.fleet.confirm(run_id, tree.object_id)
        head = message_to_proto(message).SerializeToString()
        return Packed(head, tree.SerializeToString(), objects)

    def _send(self, message: Message, packed: Packed) -> None:
        reply = message_from_proto(MessageProto.FromString(packed.message))
        tree = ObjectTree.FromString(packed.tree)
        wanted, session = self.fleet.send(reply, tree, _NO_DURATION)
        for name in wanted:
            content = packed.objects[name]
            self.fleet.push_object(message.metadata.run_id, session, name, content)


def _kind(error: BaseException) -> dict[str, Any]:
    return fields(error=Public(type(error).__name__))


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
