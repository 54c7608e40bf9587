"""The promoted model on its way to every client that is connected; each answers with a code.

Guarantee:
    What is sent holds released values and public facts alone, the same for every client. It
    names no client: heads of ledgers, which stand in the manifest here, stay here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from flwr.app import Message
from flwr.serverapp import Grid

from common.artifacts import load_artifact
from common.errors import ArtifactError, Code, HushRecError, RunError
from common.privacy.signing import SigningKey
from common.protocol import MODEL, OK, ModelMessage, Reply
from server.asking import log_refused
from server.keys import SERVER_KEY
from server.models import Models
from server.quorum import NO_ANSWER, error_of

__all__ = ["deliver", "promoted_message", "send"]

_GROUP: Final = "model"
_LOG: Final = logging.getLogger("hushrec.server")


def deliver(grid: Grid, home: Path, timeout_seconds: float) -> dict[str, str]:
    """Send the promoted model to every node that is connected.

    Args:
        grid: where the nodes are.
        home: the server's.
        timeout_seconds: how long to wait for answers.

    Returns:
        Who has it, as `send` does.

    Raises:
        ArtifactError: `model-missing`, nothing is promoted; `artifact-invalid`, the promoted
            version or the list of promotions is damaged; `model-unknown`, it is gone.
        RunError: `run-mismatch`, the home has no key to sign with.
        ConfigError: `config-invalid`, the key is none.
    """
    return send(grid, promoted_message(home), timeout_seconds)


def send(grid: Grid, message: ModelMessage, timeout_seconds: float) -> dict[str, str]:
    """Send a model to every node that is connected.

    Nothing is kept of the answers: who was away, or refused, is sent the model next time. Who
    has it already says `ok` and changes nothing.

    Args:
        grid: where the nodes are.
        message: the model, signed.
        timeout_seconds: how long to wait for answers.

    Returns:
        By client, `ok` or why it does not have the model: its code, `no-answer`, or
        `flower-error`. A client is called as the operator registered its node, else `node ID`.
    """
    names = _names({node.node_id: node.name for node in grid.get_nodes()})
    asked = [
        Message(records, dst_node_id=node, message_type=MODEL, group_id=_GROUP)
        for node, records in zip(names, message.copies(), strict=False)
    ]
    found = dict.fromkeys(names.values(), NO_ANSWER)
    for reply in grid.send_and_receive(asked, timeout=timeout_seconds):
        name = names.pop(reply.metadata.src_node_id, None)
        if name is not None:
            found[name] = _code(reply)
    _LOG.info("%s, promotion %d, goes to %d nodes", message.version, message.serial, len(asked))
    refused = {name: code for name, code in found.items() if code != OK}
    log_refused(refused, f"does not have {message.version}")
    return dict(sorted(found.items()))


def promoted_message(home: Path) -> ModelMessage:
    """The promoted model as every client is sent it, signed; raises as `deliver` does."""
    models = Models(home)
    current = models.current
    if current is None:
        raise ArtifactError(
            Code.MODEL_MISSING,
            "no version is promoted.",
            where=str(home),
            remedy="`hushrec server models` lists what there is, `hushrec server promote` takes "
            "one of the list.",
        )
    arrays, manifest = load_artifact(models.version(current.version).folder)
    return ModelMessage(
        serial=current.serial,
        version=current.version,
        manifest=manifest.model_copy(update={"heads": {}}),
        arrays=arrays,
    ).signed(_key(home))


def _key(home: Path) -> SigningKey:
    path = home / SERVER_KEY
    if not path.exists():  # a new one would be nobody's whom clients know
        raise RunError(
            Code.RUN_MISMATCH,
            "the server's key is missing.",
            where=str(path),
            remedy="Put the key back that the clients' policies list.",
        )
    return SigningKey.load(path)


def _names(registered: Mapping[int, str]) -> dict[int, str]:
    """What each node is called, no two the same."""
    counts = Counter(registered.values())
    found = {}
    for node, name in registered.items():
        told_apart = name if counts[name] == 1 else f"{name} (node {node})"
        found[node] = told_apart if name else f"node {node}"
    return found


def _code(message: Message) -> str:
    if message.has_error():
        return error_of(message)
    try:
        return Reply.from_records(message.content).code
    except HushRecError as error:
        return str(error.code)
