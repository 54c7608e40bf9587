"""The typed messages, and the one place that knows how Flower's records are named.

A task goes out with `train.step`; its reply holds arrays that a mechanism made, public
facts, and a fixed code. `query.hello` asks a client for its public facts.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray
from pydantic import Field

from common.config import Settings
from common.errors import Code, HushRecError, ProtocolError
from common.job import Job

__all__ = ["HELLO", "OK", "STEP", "Hello", "Reply", "Task"]

STEP = "train.step"
HELLO = "query.hello"
OK = "ok"
_CODES = frozenset({OK, *Code})
_LONGEST_JOB = 64_000
_HEAD = re.compile(r"(?:[0-9a-f]{64})?")

_TASK, _INPUTS = "task", "inputs"
_REPLY, _RELEASE = "reply", "release"


@dataclass(frozen=True)
class Task:
    """What the server asks of a client in one step.

    Attributes:
        job: the whole job; the client derives plan and price from it.
        step: index into the job's steps.
        inputs: public arrays for the step, by name.
        session: number of the attempt at a sum; 0 outside secure sums.
    """

    job: Job
    step: int
    inputs: dict[str, NDArray[Any]]
    session: int = 0

    @property
    def request_hash(self) -> str:
        """SHA-256 of everything that the answer depends on."""
        arrays = {
            name: (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest())
            for name, array in self.inputs.items()
        }
        values = [self.job.model_dump(mode="json"), self.step, self.session, arrays]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        header = ConfigRecord()
        header["job"] = self.job.model_dump_json()
        header["step"] = self.step
        header["session"] = self.session
        return RecordDict({_TASK: header, _INPUTS: _to_record(self.inputs)})

    @classmethod
    def from_records(cls, records: RecordDict) -> Task:
        """Read a task.

        Raises:
            ProtocolError: `protocol-invalid`, a record is missing, of the wrong type, or a
                job longer than any real one.
            ConfigError: the job itself is malformed.
        """
        header = _header(records, _TASK, {"job": str, "step": int, "session": int})
        if len(header["job"]) > _LONGEST_JOB:
            raise _invalid(f"the job is longer than {_LONGEST_JOB} characters")
        job = Job.load(_json_object(header["job"]), where="task.job")
        if header["step"] < 0 or header["session"] < 0:
            raise _invalid("step and session must not be negative")
        inputs = _arrays(records, _INPUTS)
        return cls(job, header["step"], inputs, header["session"])


@dataclass(frozen=True)
class Reply:
    """What a client answers: a code, and with the code `ok` a release and the ledger's head."""

    code: str
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    head: str = ""

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        header = ConfigRecord({"code": self.code, "head": self.head})
        return RecordDict({_REPLY: header, _RELEASE: _to_record(self.arrays)})

    @classmethod
    def from_records(cls, records: RecordDict) -> Reply:
        """Read a reply.

        Raises:
            ProtocolError: `protocol-invalid`, a record is missing or of the wrong type, or
                a field holds what no client would say: it ends up in files and pages.
        """
        header = _header(records, _REPLY, {"code": str, "head": str})
        if header["code"] not in _CODES:
            raise _invalid("the reply's code is not one of ours")
        if not _HEAD.fullmatch(header["head"]):
            raise _invalid("the ledger's head is not a hash")
        return cls(header["code"], _arrays(records, _RELEASE), header["head"])


class Hello(Settings):
    """Public facts of a client."""

    client: str = Field(pattern=r"^[\w.-]{1,64}$")
    """The client's name on the roster."""
    population: int = Field(gt=0, le=10**12)
    """Declared number of users."""
    catalogue_version: str = Field(max_length=128)
    """Content hash of the catalogue that it holds."""
    version: str = Field(max_length=64)
    """Version of HushRec that it runs."""
    private: bool
    """False if its noise comes from a fixed seed (simulation only)."""

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        return RecordDict({_REPLY: ConfigRecord({"code": OK, "hello": self.model_dump_json()})})

    @classmethod
    def from_records(cls, records: RecordDict) -> Hello:
        """Read the answer to a hello.

        Raises:
            HushRecError: with the code that the client answered.
            ProtocolError: `protocol-invalid`, the answer is neither a hello nor a code.
        """
        header = _header(records, _REPLY, {"code": str})
        if header["code"] not in _CODES:
            raise _invalid("the reply's code is not one of ours")
        if header["code"] != OK:
            raise HushRecError(Code(header["code"]), "the client refused.", where="hello")
        hello = _header(records, _REPLY, {"hello": str})["hello"]
        return cls.load(_json_object(hello), where="hello")


def _to_record(arrays: dict[str, NDArray[Any]]) -> ArrayRecord:
    from flwr.app import Array

    return ArrayRecord({name: Array(array) for name, array in sorted(arrays.items())})


def _header(records: RecordDict, name: str, fields: dict[str, type]) -> dict[str, Any]:
    record = records.get(name)
    if not isinstance(record, ConfigRecord):
        raise _invalid(f"record {name!r} is missing or not a ConfigRecord")
    for key, kind in fields.items():
        if type(record.get(key)) is not kind:
            raise _invalid(f"{name}.{key} is missing or not {kind.__name__}")
    return {key: record[key] for key in fields}


def _arrays(records: RecordDict, name: str) -> dict[str, NDArray[Any]]:
    record = records.get(name)
    if not isinstance(record, ArrayRecord):
        raise _invalid(f"record {name!r} is missing or not an ArrayRecord")
    try:
        return {key: array.numpy() for key, array in record.items()}
    except HushRecError:
        raise
    except Exception as error:  # noqa: BLE001 - the bytes come from outside, anything may follow
        raise _invalid(f"{name} holds bytes that are no array: {type(error).__name__}") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid("not valid JSON") from None
    if not isinstance(value, dict):
        raise _invalid("not a JSON object")
    return value


def _invalid(what: str) -> ProtocolError:
    return ProtocolError(
        Code.PROTOCOL_INVALID, f"{what}.", where="message", remedy="Check versions on both sides."
    )
