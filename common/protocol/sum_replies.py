"""What a client says in one stage of a secure sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from common.arrays import Words
from common.privacy.heads import SignedHead
from common.protocol.records import (
    OK,
    arrays_of,
    as_text,
    body_reader,
    body_text,
    code_of,
    from_text,
    header_of,
    invalid,
    no_body,
    to_record,
)
from common.protocol.replies import REPLY
from common.secure_sum.messages import Agreement, KeyOffer, Reveal, ShareOffer, Stage

__all__ = ["ReplyBody", "SumReply", "Words"]

ReplyBody: TypeAlias = KeyOffer | ShareOffer | Agreement | Reveal

_KINDS: Final[Mapping[Stage, type[ReplyBody] | None]] = {
    "keys": KeyOffer,
    "shares": ShareOffer,
    "masked": None,
    "survivors": Agreement,
    "reveal": Reveal,
}
_SAYS: Final[Mapping[Stage, Callable[[str], ReplyBody | None]]] = {
    stage: no_body if kind is None else body_reader(kind) for stage, kind in _KINDS.items()
}
_RELEASE, _WORDS = "release", "words"


@dataclass(frozen=True)
class SumReply:
    """What a client answers in one stage: a code, and with the code `ok` what the stage says.

    Attributes:
        code: a fixed code.
        body: what the stage says; None at `masked`, and with every code but `ok`.
        words: masked words, `[rows, width]`; at `masked` alone.
        head: of the client's ledger, at its `spend` row; at `masked` alone.
    """

    code: str
    body: ReplyBody | None = None
    words: Words | None = None
    head: SignedHead | None = None

    @classmethod
    def again(cls, stage: Stage, body: str) -> Self:
        """What was said before in a stage without words, from the JSON of its body.

        Raises:
            ProtocolError: `protocol-invalid`, the stage does not say that.
        """
        return cls(OK, _SAYS[stage](body))

    def is_of(self, stage: Stage) -> bool:
        """Whether `stage` says exactly this: its body and nothing else, or words with a head."""
        kind, masked = _KINDS[stage], stage == "masked"
        fits = self.body is None if kind is None else type(self.body) is kind
        given = [self.words is not None, self.head is not None]
        return self.code == OK and fits and given == [masked, masked]

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        words = {} if self.words is None else {_WORDS: self.words}
        header = ConfigRecord({"code": self.code, "head": as_text(self.head)})
        header["body"] = body_text(self.body)
        return RecordDict({REPLY: header, _RELEASE: to_record(words)})

    @classmethod
    def from_records(cls, records: RecordDict, stage: Stage) -> Self:
        """Read a reply; signatures, and the shape of words, are not checked here.

        Raises:
            ProtocolError: `protocol-invalid`, a record is missing or of the wrong type, or the
                reply is not what a client says in this stage.
        """
        header = header_of(records, REPLY, {"code": str, "head": str})
        code = code_of(header["code"])
        if code != OK:
            return cls(code)
        text = header_of(records, REPLY, {"body": str})["body"]
        body, arrays = _SAYS[stage](text), arrays_of(records, _RELEASE)
        head = from_text(header["head"], SignedHead)
        if stage != "masked":
            if arrays or head is not None:
                raise invalid(f"nobody says words or a head in stage {stage!r}")
            return cls(code, body)
        return cls(code, body, _words(arrays), head)


def _words(arrays: Mapping[str, NDArray[Any]]) -> Words:
    words = arrays.get(_WORDS)
    if words is None or len(arrays) != 1:
        raise invalid("there are no masked words, or other arrays with them")
    if words.ndim != 2 or words.dtype not in (np.dtype("<u4"), np.dtype("<u8")):
        raise invalid(f"masked words of type {words.dtype} and {words.ndim} dimensions")
    return words
