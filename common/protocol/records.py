"""How Flower's records are read and written, strictly: what comes from outside may be anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray
from pydantic import ValidationError

from common.config import Settings
from common.errors import Code, ConfigError, HushRecError, ProtocolError
from common.privacy.heads import Receipt, SignedHead

__all__ = [
    "OK",
    "arrays_of",
    "as_text",
    "body_reader",
    "body_text",
    "code_of",
    "from_text",
    "header_of",
    "invalid",
    "json_object",
    "no_body",
    "to_record",
]

OK: Final = "ok"
_CODES: Final = frozenset({OK, *Code})
_LONGEST_HEAD: Final = 2_000
"""Characters of a head or receipt; a real one has less than half."""
_LONGEST_BODY: Final = 10_000_000
"""Characters of a body; what 10,000 clients say in a stage takes less."""

Signed = TypeVar("Signed", SignedHead, Receipt)
Body = TypeVar("Body", bound=Settings)


def to_record(arrays: dict[str, NDArray[Any]]) -> ArrayRecord:
    """Arrays as Flower carries them, in order of name."""
    return ArrayRecord({name: Array(array) for name, array in sorted(arrays.items())})


def header_of(records: RecordDict, name: str, fields: dict[str, type]) -> dict[str, Any]:
    """The named fields of a record, exactly of the named types.

    Raises:
        ProtocolError: `protocol-invalid`, the record or a field is missing or of another type.
    """
    record = records.get(name)
    if not isinstance(record, ConfigRecord):
        raise invalid(f"record {name!r} is missing or not a ConfigRecord")
    for key, kind in fields.items():
        if type(record.get(key)) is not kind:
            raise invalid(f"{name}.{key} is missing or not {kind.__name__}")
    return {key: record[key] for key in fields}


def arrays_of(records: RecordDict, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a record; nothing is ever unpickled.

    Raises:
        ProtocolError: `protocol-invalid`, there is no such record, or it holds no arrays.
    """
    record = records.get(name)
    if not isinstance(record, ArrayRecord):
        raise invalid(f"record {name!r} is missing or not an ArrayRecord")
    try:
        return {key: array.numpy() for key, array in record.items()}
    except HushRecError:
        raise
    except Exception as error:  # noqa: BLE001 - the bytes come from outside, anything may follow
        raise invalid(f"{name} holds bytes that are no array: {type(error).__name__}") from None


def code_of(text: str) -> str:
    """A reply's code, if it is one that a client would say.

    Raises:
        ProtocolError: `protocol-invalid`.
    """
    if text not in _CODES:
        raise invalid("the reply's code is not one of ours")
    return text


def as_text(signed: SignedHead | Receipt | None) -> str:
    """A head or a receipt in a header; nothing is the empty text."""
    return "" if signed is None else signed.model_dump_json()


def from_text(text: str, kind: type[Signed]) -> Signed | None:
    """What `as_text` made; its signatures are not checked here.

    Raises:
        ProtocolError: `protocol-invalid`.
    """
    if not text:
        return None
    if len(text) > _LONGEST_HEAD:
        raise invalid(f"a {kind.__name__} is longer than {_LONGEST_HEAD} characters")
    try:
        return kind.load(json_object(text))
    except ConfigError:
        raise invalid(f"what should be a {kind.__name__} is none") from None


def body_text(body: Settings | None) -> str:
    """What a stage of a secure sum says, in a header; nothing is the empty text."""
    return "" if body is None else body.model_dump_json()


def body_reader(kind: type[Body]) -> Callable[[str], Body]:
    """Reads what `body_text` made of a `kind`; raises `protocol-invalid` for anything else."""

    def read(text: str) -> Body:
        if len(text) > _LONGEST_BODY:
            raise invalid(f"a body is longer than {_LONGEST_BODY} characters")
        try:
            return kind.model_validate_json(text)
        except ValidationError:
            raise invalid(f"what should be a {kind.__name__} is none") from None

    return read


def no_body(text: str) -> None:
    """Reads the body of a stage that has none.

    Raises:
        ProtocolError: `protocol-invalid`, there is one.
    """
    if text:
        raise invalid("the stage takes no body")


def json_object(text: str) -> dict[str, Any]:
    """One JSON object.

    Raises:
        ProtocolError: `protocol-invalid`.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("not valid JSON") from None
    if not isinstance(value, dict):
        raise invalid("not a JSON object")
    return value


def invalid(what: str) -> ProtocolError:
    """`protocol-invalid`, with what is wrong."""
    return ProtocolError(
        Code.PROTOCOL_INVALID, f"{what}.", where="message", remedy="Check versions on both sides."
    )
