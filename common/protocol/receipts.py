"""The server's countersignature under a client's last head, where no task follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flwr.app import ConfigRecord, RecordDict

from common.privacy.heads import Receipt
from common.protocol.records import as_text, from_text, header_of, invalid

__all__ = ["RECEIPT", "ReceiptMessage"]

RECEIPT: Final = "query.receipt"
_RECEIPT: Final = "receipt"


@dataclass(frozen=True)
class ReceiptMessage:
    """The server's countersignature under a client's last head, where no task follows.

    The client answers with a code alone: `ok` once the receipt is on its disk.
    """

    receipt: Receipt

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        return RecordDict({_RECEIPT: ConfigRecord({"receipt": as_text(self.receipt)})})

    @classmethod
    def from_records(cls, records: RecordDict) -> ReceiptMessage:
        """Read it; the signatures are not checked here.

        Raises:
            ProtocolError: `protocol-invalid`, there is no receipt in it.
        """
        header = header_of(records, _RECEIPT, {"receipt": str})
        receipt = from_text(header["receipt"], Receipt)
        if receipt is None:
            raise invalid("there is no receipt in it")
        return cls(receipt)
