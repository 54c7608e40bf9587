"""A task: what the server asks of a client in one step, signed; its reply is a `Reply`."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from common.errors import Code, PolicyError
from common.job import Job
from common.privacy.heads import Receipt
from common.privacy.signing import SigningKey, is_signed
from common.protocol.records import (
    arrays_of,
    as_text,
    from_text,
    header_of,
    invalid,
    json_object,
    to_record,
)

__all__ = ["STEP", "Task", "check_signed", "job_of"]

STEP: Final = "train.step"
_LONGEST_JOB: Final = 64_000

_TASK, _INPUTS = "task", "inputs"
_SIGNS: Final = "task"


@dataclass(frozen=True)
class Task:
    """What the server asks of a client in one step.

    Attributes:
        job: the whole job; the client derives plan and price from it.
        step: index into the job's steps.
        inputs: public arrays for the step, by name.
        session: number of the attempt at a sum; 0 outside secure sums.
        signature: of the request hash, by `job.server`; empty if nobody signed.
        receipt: the server's countersignature under the receiver's last head, if it has one.
    """

    job: Job
    step: int
    inputs: dict[str, NDArray[Any]]
    session: int = 0
    signature: str = ""
    receipt: Receipt | None = None

    @functools.cached_property
    def request_hash(self) -> str:
        """SHA-256 of everything that the answer depends on; taken once, when first asked for."""
        arrays = {
            name: (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest())
            for name, array in self.inputs.items()
        }
        values = [self.job.model_dump(mode="json"), self.step, self.session, arrays]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def signed(self, key: SigningKey) -> Self:
        """The task with `key`'s signature, one for all who are asked."""
        return replace(self, signature=key.sign(_SIGNS, {"request": self.request_hash}))

    def check_signature(self) -> None:
        """Hold the signature to the content and to the server that the job names, if any.

        Raises:
            PolicyError: `policy-server`.
        """
        check_signed(self.job, self.signature, _SIGNS, self.request_hash)

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        return next(self.copies([self.receipt]))

    def copies(self, receipts: Iterable[Receipt | None]) -> Iterator[RecordDict]:
        """As Flower carries it to several clients, each with a receipt of its own.

        All share one record of arrays: the inputs are in memory once, however many clients.
        """
        job, inputs = self.job.model_dump_json(), to_record(self.inputs)
        for receipt in receipts:
            header = ConfigRecord({"job": job, "step": self.step, "session": self.session})
            header["signature"] = self.signature
            header["receipt"] = as_text(receipt)
            yield RecordDict({_TASK: header, _INPUTS: inputs})

    @classmethod
    def from_records(cls, records: RecordDict) -> Task:
        """Read a task; its signature and receipt are not checked here.

        Raises:
            ProtocolError: `protocol-invalid`, a record is missing, of the wrong type, or a
                job longer than any real one.
            ConfigError: the job itself is malformed.
        """
        fields = {"job": str, "step": int, "session": int, "signature": str, "receipt": str}
        header = header_of(records, _TASK, fields)
        job = job_of(header["job"])
        receipt = from_text(header["receipt"], Receipt)
        if header["step"] < 0 or header["session"] < 0:
            raise invalid("step and session must not be negative")
        inputs = arrays_of(records, _INPUTS)
        return cls(job, header["step"], inputs, header["session"], header["signature"], receipt)


def job_of(text: str) -> Job:
    """The job in a message.

    Raises:
        ProtocolError: `protocol-invalid`, it is longer than any real one, or no JSON object.
        ConfigError: it is malformed.
    """
    if len(text) > _LONGEST_JOB:
        raise invalid(f"the job is longer than {_LONGEST_JOB} characters")
    return Job.load(json_object(text), where="task.job")


def check_signed(job: Job, signature: str, label: str, request_hash: str) -> None:
    """Hold the signature under a request to the server that the job names, if any.

    Raises:
        PolicyError: `policy-server`.
    """
    if job.server is None:
        return
    if not is_signed(job.server, signature, label, {"request": request_hash}):
        raise PolicyError(
            Code.POLICY_SERVER,
            "the task is not signed by the server that its job names.",
            where="task.signature",
            remedy="Somebody else may have sent or changed it: ask the server's operator.",
        )
