"""Signed heads and receipts: how somebody else can tell that a ledger was cut or rolled back.

A client signs its ledger's head with every release; the server countersigns it. A head says
that a ledger had a row with this number and hash; a receipt, that a server saw the head.
"""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import Field

from common.config import Settings
from common.errors import Code, LedgerError
from common.privacy.signing import Hex32, PublicKey, Signature, SigningKey, is_signed

__all__ = ["Receipt", "SignedHead"]

_HEAD: Final = "ledger head"
_RECEIPT: Final = "ledger receipt"
_UTC: Final = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(\+00:00|Z)$"
)


class SignedHead(Settings):
    """A ledger's last row, signed by the client's ledger key."""

    client: str = Field(pattern=r"^[\w.-]{1,64}$")
    """The client's name."""
    seq: int = Field(ge=0, lt=1 << 63)
    """Number of the row."""
    hash: Hex32
    """Hash of the row."""
    key: PublicKey
    """Public ledger key."""
    signature: Signature
    """By `key`, of everything above."""

    @classmethod
    def sign(cls, key: SigningKey, client: str, seq: int, row_hash: str) -> Self:
        """Sign the row `seq` with hash `row_hash` as the head of `client`'s ledger."""
        values: dict[str, Any] = {
            "client": client,
            "seq": seq,
            "hash": row_hash,
            "key": key.public,
        }
        return cls(**values, signature=key.sign(_HEAD, values))

    def check(self, key: str | None = None) -> None:
        """Hold the signature to the content, and to `key` if the right one is known.

        Raises:
            LedgerError: `ledger-signature`.
        """
        values = self.model_dump(exclude={"signature"})
        if key is not None and self.key != key:
            raise _unsigned(f"the head of {self.client} is signed by another key than expected")
        if not is_signed(self.key, self.signature, _HEAD, values):
            raise _unsigned(f"the signature under the head of {self.client} does not fit")


class Receipt(Settings):
    """A server's countersignature under a head that it saw."""

    head: SignedHead
    """The head."""
    server: PublicKey
    """The server's public key."""
    time: str = Field(pattern=_UTC)
    """When, ISO 8601 with date, seconds and UTC said, by the server's clock."""
    signature: Signature
    """By `server`, of everything above."""

    @classmethod
    def sign(cls, key: SigningKey, head: SignedHead, time: str) -> Self:
        """Countersign `head`."""
        values = _values(head, key.public, time)
        return cls(head=head, server=key.public, time=time, signature=key.sign(_RECEIPT, values))

    def check(self, server: str | None = None) -> None:
        """Hold both signatures to their content, and the server's to `server` if known.

        Raises:
            LedgerError: `ledger-signature`.
        """
        self.head.check()
        if server is not None and self.server != server:
            raise _unsigned("the receipt is from another server than expected")
        values = _values(self.head, self.server, self.time)
        if not is_signed(self.server, self.signature, _RECEIPT, values):
            raise _unsigned("the server's signature under the receipt does not fit")


def _values(head: SignedHead, server: str, time: str) -> dict[str, Any]:
    return {"head": head.model_dump(), "server": server, "time": time}


def _unsigned(what: str) -> LedgerError:
    return LedgerError(
        Code.LEDGER_SIGNATURE,
        f"{what}.",
        where="ledger",
        remedy="Compare keys with their owners by a way that does not pass through the file.",
    )
