"""The only way out: every outbound message is built here, from declared values alone.

Guarantee:
    A reply holds a fixed code, public facts, the arrays of a release whose event is already
    in the ledger, or what a stage of a secure sum says: keys, sealed shares, signatures and
    shares, which depend on no data. Anything else raises `release-undeclared` before it is
    sent.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from common.errors import Code, ReleaseError
from common.protocol import OK, Hello, Reply, SumReply
from common.public_codes import as_it_leaves

if TYPE_CHECKING:  # not at run time: a code must leave even where these cannot be loaded
    from client.store import ClientSettings
    from common.privacy.plan import Release
    from common.privacy.shared_noise import Words
    from common.secure_sum.messages import Stage
    from common.solvers.base import ArraySpec

__all__ = [
    "answer",
    "answer_code",
    "answer_hello",
    "answer_model",
    "answer_receipt",
    "answer_sum",
    "declared",
    "declared_words",
]


def declared(
    arrays: Mapping[str, NDArray[Any]], specs: Mapping[str, ArraySpec]
) -> dict[str, NDArray[np.float32]]:
    """The arrays of a release in their wire type, exactly those that the step declares.

    Args:
        arrays: what the mechanism, or post-processing of its sums, made.
        specs: name and shape of every array that may leave in this step.

    Raises:
        ReleaseError: `release-undeclared`, a name, shape or value that nothing declared.
    """
    if set(arrays) != set(specs):
        extra, missing = sorted(set(arrays) - set(specs)), sorted(set(specs) - set(arrays))
        raise _undeclared(f"undeclared {extra}, missing {missing}")
    wire: dict[str, NDArray[np.float32]] = {}
    for name, spec in specs.items():
        if arrays[name].shape != spec.shape:
            raise _undeclared(f"{name} has shape {arrays[name].shape}, declared {spec.shape}")
        wire[name] = arrays[name].astype(np.float32)
    return wire


def declared_words(words: Words, release: Release) -> Words:
    """The words of a secure sum, exactly those that the plan has room for.

    Raises:
        ReleaseError: `release-undeclared`, another shape or type than is planned.
    """
    bits = 0 if release.shares is None else release.shares.word_bits
    if words.shape != (release.rows, release.width) or words.dtype != f"uint{bits}":
        raise _undeclared(
            f"words {words.shape} {words.dtype}, declared ({release.rows}, {release.width}) "
            f"of {bits} bits"
        )
    return words


def answer(task: Message, reply: Reply) -> Message:
    """The message that carries a stored release."""
    return Message(reply.to_records(), reply_to=task)


def answer_sum(call: Message, stage: Stage, reply: SumReply) -> Message:
    """The message that carries what one stage of a secure sum says, and nothing of another.

    Raises:
        ReleaseError: `release-undeclared`, the stage does not say that.
    """
    if not reply.is_of(stage):
        raise _undeclared(f"stage {stage} does not say what it was given")
    return Message(reply.to_records(), reply_to=call)


def answer_code(task: Message, code: Code) -> Message:
    """The message that carries a code, one about data as `client-unready`, and nothing else."""
    return answer(task, Reply(as_it_leaves(code) or str(Code.INTERNAL)))


def answer_receipt(message: Message) -> Message:
    """The message that says that a receipt is on this client's disk, and nothing else."""
    return answer(message, Reply(OK))


def answer_model(message: Message) -> Message:
    """The message that says that a model is on this client's disk, and nothing else."""
    return answer(message, Reply(OK))


def answer_hello(
    task: Message,
    settings: ClientSettings,
    catalogue_version: str,
    ledger_key: str | None = None,
) -> Message:
    """The message that carries the client's public facts.

    Args:
        task: what is answered.
        settings: the client's own.
        catalogue_version: content hash of its catalogue.
        ledger_key: public half of the key that signs its ledger's heads.
    """
    hello = Hello(
        client=settings.name,
        population=settings.population,
        catalogue_version=catalogue_version,
        version=_version(),
        private=settings.noise_seed is None,
        ledger_key=ledger_key,
    )
    return Message(hello.to_records(), reply_to=task)


@functools.cache
def _version() -> str:
    try:
        return version("hushrec")
    except PackageNotFoundError:
        return "source"


def _undeclared(what: str) -> ReleaseError:
    return ReleaseError(
        Code.RELEASE_UNDECLARED,
        f"{what}.",
        where="release",
        remedy="A solver may release what its step declares and nothing else.",
    )
