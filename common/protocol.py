"""The typed messages, and the one place that knows how Flower's records are named.

A task goes out with `train.step`, signed by the server; its reply holds arrays that a
mechanism made, the head of the client's ledger, and a fixed code. `query.hello` asks a client
for its public facts, `query.receipt` hands it the server's countersignature under a head.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeVar

from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray
from pydantic import Field

from common.config import Settings
from common.errors import Code, ConfigError, HushRecError, PolicyError, ProtocolError
from common.job import Job
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import PublicKey, SigningKey, is_signed

__all__ = ["HELLO", "OK", "RECEIPT", "STEP", "Hello", "ReceiptMessage", "Reply", "Task"]

STEP: Final = "train.step"
HELLO: Final = "query.hello"
RECEIPT: Final = "query.receipt"
OK: Final = "ok"
_CODES: Final = frozenset({OK, *Code})
_LONGEST_JOB: Final = 64_000
_LONGEST_HEAD: Final = 2_000
"""Characters of a head or receipt; a real one has less than half."""

_TASK, _INPUTS = "task", "inputs"
_REPLY, _RELEASE = "reply", "release"
_RECEIPT: Final = "receipt"
_SIGNS: Final = "task"

_Signed = TypeVar("_Signed", SignedHead, Receipt)


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
        server = self.job.server
        if server is None:
            return
        if not is_signed(server, self.signature, _SIGNS, {"request": self.request_hash}):
            raise PolicyError(
                Code.POLICY_SERVER,
                "the task is not signed by the server that its job names.",
                where="task.signature",
                remedy="Somebody else may have sent or changed it: ask the server's operator.",
            )

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        return next(self.copies([self.receipt]))

    def copies(self, receipts: Iterable[Receipt | None]) -> Iterator[RecordDict]:
        """As Flower carries it to several clients, each with a receipt of its own.

        All share one record of arrays: the inputs are in memory once, however many clients.
        """
        job, inputs = self.job.model_dump_json(), _to_record(self.inputs)
        for receipt in receipts:
            header = ConfigRecord({"job": job, "step": self.step, "session": self.session})
            header["signature"] = self.signature
            header["receipt"] = _as_text(receipt)
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
        header = _header(records, _TASK, fields)
        if len(header["job"]) > _LONGEST_JOB:
            raise _invalid(f"the job is longer than {_LONGEST_JOB} characters")
        receipt = _from_text(header["receipt"], Receipt)
        job = Job.load(_json_object(header["job"]), where="task.job")
        if header["step"] < 0 or header["session"] < 0:
            raise _invalid("step and session must not be negative")
        inputs = _arrays(records, _INPUTS)
        return cls(job, header["step"], inputs, header["session"], header["signature"], receipt)


@dataclass(frozen=True)
class Reply:
    """What a client answers: a code, and with the code `ok` a release and the ledger's head."""

    code: str
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    head: SignedHead | None = None

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        header = ConfigRecord({"code": self.code, "head": _as_text(self.head)})
        return RecordDict({_REPLY: header, _RELEASE: _to_record(self.arrays)})

    @classmethod
    def from_records(cls, records: RecordDict) -> Reply:
        """Read a reply; the signature under its head is not checked here.

        Raises:
            ProtocolError: `protocol-invalid`, a record is missing or of the wrong type, or
                a field holds what no client would say: it ends up in files and pages.
        """
        header = _header(records, _REPLY, {"code": str, "head": str})
        code = _code(header["code"])
        head = _from_text(header["head"], SignedHead)
        return cls(code, _arrays(records, _RELEASE), head)


@dataclass(frozen=True)
class ReceiptMessage:
    """The server's countersignature under a client's last head, where no task follows.

    The client answers with a code alone: `ok` once the receipt is on its disk.
    """

    receipt: Receipt

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        return RecordDict({_RECEIPT: ConfigRecord({"receipt": _as_text(self.receipt)})})

    @classmethod
    def from_records(cls, records: RecordDict) -> ReceiptMessage:
        """Read it; the signatures are not checked here.

        Raises:
            ProtocolError: `protocol-invalid`, there is no receipt in it.
        """
        header = _header(records, _RECEIPT, {"receipt": str})
        receipt = _from_text(header["receipt"], Receipt)
        if receipt is None:
            raise _invalid("there is no receipt in it")
        return cls(receipt)


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
    ledger_key: PublicKey | None = None
    """Public key that signs its ledger's heads."""

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
        code = _code(_header(records, _REPLY, {"code": str})["code"])
        if code != OK:
            raise HushRecError(Code(code), "the client refused.", where="hello")
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


def _code(text: str) -> str:
    if text not in _CODES:
        raise _invalid("the reply's code is not one of ours")
    return text


def _as_text(signed: SignedHead | Receipt | None) -> str:
    return "" if signed is None else signed.model_dump_json()


def _from_text(text: str, kind: type[_Signed]) -> _Signed | None:
    if not text:
        return None
    if len(text) > _LONGEST_HEAD:
        raise _invalid(f"a {kind.__name__} is longer than {_LONGEST_HEAD} characters")
    try:
        return kind.load(_json_object(text))
    except ConfigError:
        raise _invalid(f"what should be a {kind.__name__} is none") from None


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
