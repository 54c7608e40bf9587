"""A ledger as a file to hand to somebody else: JSON Lines, read strictly.

line      what
header    {"client", "dataset_id", "format", "public_key", "version"}
rows      each row in its text form, in order
receipts  {"receipt": ...}, in the order in which they came
end       {"end": {"head", "receipts", "rows", "sha256", "signature"}}: the ledger's head, and
          how many lines of what there are, with the hash of all bytes above, signed

Every line is canonical JSON, so that a row has one spelling and its hash covers the bytes
that were read. Nothing in the file needs the program that wrote it to be trusted; who checks
it (`common.audit.verify`) needs public keys and nothing else.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import from_json

from common.config import Settings
from common.errors import Code, LedgerError
from common.files import write_atomic
from common.privacy.heads import Receipt, SignedHead
from common.privacy.ledger import PlainRow, read_text
from common.privacy.signing import Hex32, PublicKey, Signature, SigningKey, is_signed

__all__ = ["End", "Export", "Header", "read_export", "write_export"]

_LABEL: Final = "ledger export"
_Model = TypeVar("_Model", bound=Settings)
_Read = TypeVar("_Read")


class Header(Settings):
    """The first line: what the file says that it is."""

    client: str = Field(pattern=r"^[\w.-]{1,64}$")
    """Whose ledger."""
    dataset_id: str
    """About which data."""
    format: Literal["hushrec-ledger"] = "hushrec-ledger"
    """What the file is."""
    public_key: PublicKey
    """The ledger's key, as its first row names it."""
    version: int = Field(default=1, ge=1, le=1)
    """Of the form of the file."""


class End(Settings):
    """The last line: how much there is, signed by the ledger's key when the file was written."""

    head: SignedHead
    """The ledger's last row."""
    receipts: int = Field(ge=0)
    """How many lines of receipts."""
    rows: int = Field(gt=0)
    """How many lines of rows."""
    sha256: Hex32
    """Of all bytes of the file before this line."""
    signature: Signature
    """By the ledger's key, of everything above."""

    def is_signed(self) -> bool:
        """Whether the key of the head signed this line."""
        values = self.model_dump(exclude={"signature"})
        return is_signed(self.head.key, self.signature, _LABEL, values)


@dataclass(frozen=True)
class Export:
    """A file as it was read; well-formed, and not yet checked.

    Attributes:
        header: the first line.
        rows: rows in the order of the file.
        receipts: receipts in the order of the file.
        end: the last line.
        sha256: of all bytes before the last line, as they are.
        where: the file.
    """

    header: Header
    rows: tuple[PlainRow, ...]
    receipts: tuple[Receipt, ...]
    end: End
    sha256: str
    where: str


def write_export(
    path: Path, texts: Iterable[str], receipts: Iterable[Receipt], key: SigningKey
) -> SignedHead:
    """Write a ledger to `path`.

    Args:
        path: the file; replaced as a whole.
        texts: the ledger's rows in their text form, in order, at least one.
        receipts: the receipts that it has.
        key: the ledger's key, for the last line.

    Returns:
        The head that the file ends with.

    Raises:
        DataError: `disk-full`, or `data-not-found` when the place cannot be written.
        LedgerError: `ledger-broken`, the rows are not those of a ledger.
    """
    rows = [text.encode() for text in texts]
    kept = [_line({"receipt": receipt.model_dump()}) for receipt in receipts]
    try:
        first, last = read_text(rows[0].decode()), read_text(rows[-1].decode())
        names = {name: first.body[name] for name in ("client", "dataset_id", "public_key")}
        header = Header.model_validate(names)
    except (IndexError, KeyError, ValueError) as error:
        raise LedgerError(
            Code.LEDGER_BROKEN, f"no ledger to export: {error}.", where="ledger"
        ) from None
    content = b"".join(line + b"\n" for line in (_line(header.model_dump()), *rows, *kept))
    head = SignedHead.sign(key, header.client, last.seq, last.hash)
    values: dict[str, Any] = {
        "head": head.model_dump(),
        "receipts": len(kept),
        "rows": len(rows),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    end = {"end": {**values, "signature": key.sign(_LABEL, values)}}
    write_atomic(path, content + _line(end) + b"\n")
    return head


def read_export(path: Path) -> Export:
    """Read a file that `write_export` wrote, strictly.

    Raises:
        LedgerError: `ledger-export`, the file cannot be read, or a line is not what stands
            there in an export: named by its number, from 1. Whether what it says is true is
            for `verify_export`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _malformed(str(path), f"cannot be read: {error.strerror}") from None
    *lines, rest = content.split(b"\n")
    where = str(path)
    if rest or len(lines) < 3:
        raise _malformed(f"{where}:{len(lines) + 1}", "the file was cut: this line is not whole")
    reader = _Reader(where)
    header = reader.model(1, lines[0], Header)
    with _collector_resting():
        rows, receipts = reader.body(enumerate(lines[1:-1], 2))
    end = reader.wrapped(len(lines), lines[-1], "end", End)
    before = content[: len(content) - len(lines[-1]) - 1]
    return Export(
        header=header,
        rows=tuple(rows),
        receipts=tuple(receipts),
        end=end,
        sha256=hashlib.sha256(before).hexdigest(),
        where=where,
    )


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Hundreds of thousands of dictionaries that stay: looking for cycles doubles the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(frozen=True)
class _Reader:
    """Reads lines of one file and names the one that is wrong."""

    where: str

    def body(self, lines: Iterator[tuple[int, bytes]]) -> tuple[list[PlainRow], list[Receipt]]:
        """Rows, then receipts."""
        rows: list[PlainRow] = []
        receipts: list[Receipt] = []
        for number, line in lines:
            if line.startswith(b'{"receipt":'):
                receipts.append(self.wrapped(number, line, "receipt", Receipt))
            elif receipts:
                raise self._wrong(number, "no receipt, and receipts come last")
            else:
                rows.append(self._read(number, line, read_text))
        return rows, receipts

    def wrapped(self, number: int, line: bytes, name: str, model: type[_Model]) -> _Model:
        """The line {`name`: ...}."""
        values = self._read(number, line, _canonical)
        if values.keys() != {name} or not isinstance(values[name], dict):
            raise self._wrong(number, f"not a line of the form {{{name!r}: ...}}")
        return self._valid(number, values[name], model)

    def model(self, number: int, line: bytes, model: type[_Model]) -> _Model:
        """The line that is `model` itself."""
        return self._valid(number, self._read(number, line, _canonical), model)

    def _read(self, number: int, line: bytes, read: Callable[[str], _Read]) -> _Read:
        try:
            return read(line.decode("ascii"))
        except (ValueError, RecursionError) as error:
            raise self._wrong(number, str(error).splitlines()[0]) from None

    def _valid(self, number: int, values: Mapping[str, Any], model: type[_Model]) -> _Model:
        try:
            return model.model_validate(values, strict=True)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(map(str, problem["loc"]))
            raise self._wrong(number, f"{place}: {problem['msg']}") from None

    def _wrong(self, number: int, what: str) -> LedgerError:
        return _malformed(f"{self.where}:{number}", what)


def _canonical(text: str) -> dict[str, Any]:
    values = from_json(text, allow_inf_nan=False)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    if _line(values).decode() != text:
        raise ValueError("not in canonical form")
    return values


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _malformed(where: str, what: str) -> LedgerError:
    return LedgerError(
        Code.LEDGER_EXPORT,
        f"not an export of a ledger: {what}.",
        where=where,
        remedy="Ask the client for a new export; compare how large it is on both sides.",
    )
