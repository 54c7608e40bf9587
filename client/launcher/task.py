"""The process of one task: reads a message on standard input, answers on standard output.

Guarantee:
    It runs the installed `client.app` and has no way to any other: it is given the hash of
    the run's bundle, which it compares with the policy once more, and never the bundle. What
    a server configured for the run is not passed on; the client's folder comes from its node.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from flwr.app import Context, Message, RecordDict
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity

from client.app import app
from client.launcher.bundle import Bundle, check_bundle
from client.launcher.parcel import Errand, Packed, read_errand, write_packed
from client.launcher.versions import check_flower
from client.release import answer_code
from common.errors import Code, HushRecError, ProtocolError
from common.logs import configure_process
from common.processes import end_with_parent
from common.public_codes import told

__all__ = ["main", "perform"]

_LOG = logging.getLogger("hushrec.launcher")


def main() -> None:
    """Answer one message. Without an answer the node says `internal`."""
    end_with_parent()
    configure_process("task")
    check_flower()
    with _own_stdout() as out:
        errand, packed = read_errand(sys.stdin.buffer)
        write_packed(out, perform(errand, packed))


def perform(errand: Errand, packed: Packed) -> Packed:
    """What the installed app answers, or the code of a refusal."""
    TaskIdentity.run_id, TaskIdentity.task_id = errand.run_id, 0
    TaskIdentity.node_id = errand.node_id
    received = message_from_proto(MessageProto.FromString(packed.message))
    try:
        _check(Path(errand.home), errand.bundle)
        message = _inflated(packed)
    except HushRecError as error:
        _LOG.warning("refused %s", error)
        return Packed.of(answer_code(received, told(error)))
    context = Context(
        errand.run_id, errand.node_id, {"home": errand.home}, state=RecordDict(), run_config={}
    )
    return Packed.of(app(message, context))


def _check(home: Path, bundle: Bundle) -> None:
    """Compare the bundle with the policy; a refusal is a row, so many a day.

    Raises:
        PolicyError: `policy-bundle` or `policy-missing`.
        HushRecError: settings, policy or ledger cannot be read.
    """
    from client.guard.refusals import refusing
    from client.ledger_store import LedgerStore
    from client.owner import Owner
    from client.store import read_policy

    owner = Owner.of(home)
    settings = owner.settings
    try:
        check_bundle(read_policy(home), bundle)
    except HushRecError:
        with (
            LedgerStore.open(
                owner.ledger_path,
                settings.name,
                settings.dataset_id,
                survives_power_cut=not settings.simulated,
            ) as ledger,
            refusing(ledger, stranger=datetime.now(UTC).date()),
        ):
            raise


def _inflated(packed: Packed) -> Message:
    """The message with its content, as the app gets it.

    Raises:
        ProtocolError: `protocol-invalid`, its objects are no message.
    """
    tree = ObjectTree.FromString(packed.tree)
    try:
        message = inflate_object_from_contents(tree.object_id, dict(packed.objects))
    except Exception as error:  # noqa: BLE001  whatever a server sends as objects
        raise _malformed(f"its objects cannot be read: {type(error).__name__}") from None
    if not isinstance(message, Message):
        raise _malformed(f"its objects are a {type(message).__name__}")
    message.metadata.__dict__["_message_id"] = tree.object_id
    return message


def _malformed(what: str) -> ProtocolError:
    return ProtocolError(Code.PROTOCOL_INVALID, f"{what}.", where="message")


def _own_stdout() -> IO[bytes]:
    """Standard output for the answer alone; what else is printed goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "wb")


if __name__ == "__main__":
    main()
