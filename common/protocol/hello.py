"""The answer to `query.hello`: a client's public facts."""

from __future__ import annotations

from typing import Final

from flwr.app import ConfigRecord, RecordDict
from pydantic import Field

from common.config import Settings
from common.errors import Code, HushRecError
from common.privacy.signing import PublicKey
from common.protocol.records import OK, code_of, header_of, json_object
from common.protocol.replies import REPLY

__all__ = ["HELLO", "Hello"]

HELLO: Final = "query.hello"


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
        return RecordDict({REPLY: ConfigRecord({"code": OK, "hello": self.model_dump_json()})})

    @classmethod
    def from_records(cls, records: RecordDict) -> Hello:
        """Read the answer to a hello.

        Raises:
            HushRecError: with the code that the client answered.
            ProtocolError: `protocol-invalid`, the answer is neither a hello nor a code.
        """
        code = code_of(header_of(records, REPLY, {"code": str})["code"])
        if code != OK:
            raise HushRecError(Code(code), "the client refused.", where="hello")
        hello = header_of(records, REPLY, {"hello": str})["hello"]
        return cls.load(json_object(hello), where="hello")
