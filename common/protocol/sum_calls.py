"""A call: what the server asks of a client in one stage of a secure sum, signed."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeAlias

from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from common.job import Job
from common.privacy.heads import Receipt
from common.privacy.signing import SigningKey
from common.protocol.records import (
    arrays_of,
    as_text,
    body_reader,
    body_text,
    from_text,
    header_of,
    invalid,
    no_body,
    to_record,
)
from common.protocol.tasks import Task, check_signed, job_of
from common.secure_sum.messages import (
    STAGES,
    AgreementList,
    KeyList,
    ShareList,
    Stage,
    SurvivorList,
)

__all__ = ["SUM", "CallBody", "SumCall"]

SUM: Final = "train.sum"
CallBody: TypeAlias = KeyList | ShareList | SurvivorList | AgreementList

_ASKS: Final[Mapping[Stage, Callable[[str], CallBody | None]]] = {
    "keys": no_body,
    "shares": body_reader(KeyList),
    "masked": body_reader(ShareList),
    "survivors": body_reader(SurvivorList),
    "reveal": body_reader(AgreementList),
}
_CALL, _INPUTS = "sum", "inputs"
_SIGNS: Final = "sum"
_CONTEXT: Final = re.compile(r"[0-9a-f]{64}")
_MOST_SESSIONS: Final = 1 << 31


@dataclass(frozen=True)
class SumCall:
    """What the server asks of a client in one stage of a secure sum.

    Attributes:
        job: the whole job; the client derives plan and price from it.
        step: index into the job's steps.
        session: number of the attempt, from 0.
        context: of the sum (`context_of`); the same in all stages.
        stage: which.
        body: what the stage takes, None at `keys`.
        inputs: public arrays for the step, by name; at `masked` alone.
        signature: of the request hash, by `job.server`; empty if nobody signed.
        receipt: the server's countersignature under the receiver's last head, if it has one.
    """

    job: Job
    step: int
    session: int
    context: str
    stage: Stage
    body: CallBody | None = None
    inputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    signature: str = ""
    receipt: Receipt | None = None

    @classmethod
    def of(cls, task: Task, context: str, stage: Stage, body: CallBody | None = None) -> Self:
        """A stage of the sum of `task`, unsigned; its inputs travel with `masked` alone."""
        inputs = task.inputs if stage == "masked" else {}
        return cls(task.job, task.step, task.session, context, stage, body, inputs)

    @functools.cached_property
    def request_hash(self) -> str:
        """SHA-256 of everything that the answer depends on; inputs are in it by the context."""
        body = hashlib.sha256(body_text(self.body).encode()).hexdigest()
        asked = [self.job.model_dump(mode="json"), self.step, self.session, self.stage]
        text = json.dumps([*asked, self.context, body], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def task(self) -> Task:
        """The task that is summed, with the inputs that came with this call."""
        return Task(self.job, self.step, self.inputs, self.session)

    def signed(self, key: SigningKey) -> Self:
        """The call with `key`'s signature."""
        return replace(self, signature=key.sign(_SIGNS, {"request": self.request_hash}))

    def check_signature(self) -> None:
        """Hold the signature to the content and to the server that the job names, if any.

        Inputs are not held to the context here.

        Raises:
            PolicyError: `policy-server`.
        """
        check_signed(self.job, self.signature, _SIGNS, self.request_hash)

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        return _records(self, self.job.model_dump_json(), to_record(self.inputs))

    def copies(
        self, to: Iterable[tuple[CallBody | None, Receipt | None]], key: SigningKey | None
    ) -> Iterator[RecordDict]:
        """As Flower carries it to several clients, each with a body and a receipt of its own.

        All share one record of arrays: the inputs are in memory once, however many clients. A
        body that several get one after another is hashed and signed once.

        Args:
            to: body and receipt for each client.
            key: signs; None for a job that names no server.
        """
        job, inputs, call = self.job.model_dump_json(), to_record(self.inputs), self
        for number, (body, receipt) in enumerate(to):
            if number == 0 or body is not call.body:
                call = replace(call, body=body, signature="")
                call = call if key is None else call.signed(key)
            yield _records(replace(call, receipt=receipt), job, inputs)

    @classmethod
    def from_records(cls, records: RecordDict) -> Self:
        """Read a call; its signature, context and receipt are not checked here.

        Raises:
            ProtocolError: `protocol-invalid`, a record is missing or of the wrong type, or the
                body is not what the stage takes, or longer than any real one.
            ConfigError: the job itself is malformed.
        """
        texts = dict.fromkeys(("job", "context", "stage", "body", "signature", "receipt"), str)
        header = header_of(records, _CALL, {**texts, "step": int, "session": int})
        stage = _stage(header["stage"])
        if header["step"] < 0 or not 0 <= header["session"] < _MOST_SESSIONS:
            raise invalid("step and session must not be negative, nor a session very large")
        if not _CONTEXT.fullmatch(header["context"]):
            raise invalid("the context is no SHA-256")
        return cls(
            job=job_of(header["job"]),
            step=header["step"],
            session=header["session"],
            context=header["context"],
            stage=stage,
            body=_ASKS[stage](header["body"]),
            inputs=_only_at(stage, arrays_of(records, _INPUTS)),
            signature=header["signature"],
            receipt=from_text(header["receipt"], Receipt),
        )


def _stage(text: str) -> Stage:
    for stage in STAGES:
        if stage == text:
            return stage
    raise invalid("a secure sum has no such stage")


def _only_at(stage: Stage, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    if inputs and stage != "masked":
        raise invalid(f"nobody asked for arrays in stage {stage!r}")
    return inputs


def _records(call: SumCall, job: str, inputs: ArrayRecord) -> RecordDict:
    header = ConfigRecord({"job": job, "step": call.step, "session": call.session})
    header["context"], header["stage"] = call.context, call.stage
    header["body"] = body_text(call.body)
    header["signature"], header["receipt"] = call.signature, as_text(call.receipt)
    return RecordDict({_CALL: header, _INPUTS: inputs})
