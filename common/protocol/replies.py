"""A reply: a fixed code, and with the code `ok` a release and the head of the client's ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from common.privacy.heads import SignedHead
from common.protocol.records import arrays_of, as_text, code_of, from_text, header_of, to_record

__all__ = ["REPLY", "Reply"]

REPLY: Final = "reply"
_RELEASE: Final = "release"


@dataclass(frozen=True)
class Reply:
    """What a client answers: a code, and with the code `ok` a release and the ledger's head."""

    code: str
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    head: SignedHead | None = None

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        header = ConfigRecord({"code": self.code, "head": as_text(self.head)})
        return RecordDict({REPLY: header, _RELEASE: to_record(self.arrays)})

    @classmethod
    def from_records(cls, records: RecordDict) -> Reply:
        """Read a reply; the signature under its head is not checked here.

        Raises:
            ProtocolError: `protocol-invalid`, a record is missing or of the wrong type, or
                a field holds what no client would say: it ends up in files and pages.
        """
        header = header_of(records, REPLY, {"code": str, "head": str})
        code = code_of(header["code"])
        head = from_text(header["head"], SignedHead)
        return cls(code, arrays_of(records, _RELEASE), head)
