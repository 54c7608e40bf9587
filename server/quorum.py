"""Too few clients: who is missing and why, and whether that may pass by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from flwr.app import Message

from common.errors import Code, RunError

__all__ = ["FLOWER_ERROR", "NO_ANSWER", "TAKES_A_PERSON", "QuorumError", "error_of"]

NO_ANSWER: Final = "no-answer"
"""In the place of a code, where nothing came in time."""
FLOWER_ERROR: Final = "flower-error"
"""In the place of a code, where Flower reports an error of its own."""
_PASSING: Final = frozenset(
    {
        NO_ANSWER,
        FLOWER_ERROR,
        Code.INTERNAL,
        Code.CLIENT_UNREADY,
        Code.DISK_FULL,
        Code.LEDGER_WRITE,
        Code.SUM_SESSION,
        Code.SUM_STAGE,
        Code.SUM_THRESHOLD,
    }
)
"""What a client may get over without anybody's decision about what it allows."""
TAKES_A_PERSON: Final = frozenset({Code.INTERNAL, Code.DISK_FULL, Code.LEDGER_WRITE})
"""Where a client answers with one of these when a release is asked of it, it may have been
charged, something is wrong with its machine, and asking again charges it again."""

_NODE_UNAVAILABLE: Final = 5
"""Flower's code for a node that stopped being heard of: silence, like any other."""
_FIELDS: Final = ("where", "remedy", "missing", "refused", "silent", "charged", "held")


class QuorumError(RunError):
    """`run-quorum`, with who is missing.

    Args:
        message: what was wrong.
        where: the step.
        remedy: what to do.
        missing: how many more clients are needed.
        refused: code by client of those who did not take part.
        silent: how many more are known to be away, without a name.
        charged: clients were charged in vain, and another try charges them again.
        held: of `refused`, those that no program asks again, since that may charge them.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        remedy: str = "",
        missing: int = 1,
        refused: Mapping[str, str] | None = None,
        silent: int = 0,
        charged: bool = False,
        held: Collection[str] = (),
    ) -> None:
        super().__init__(Code.RUN_QUORUM, message, where=where, remedy=remedy)
        self.missing = missing
        self.refused = {} if refused is None else dict(refused)
        self.silent = silent
        self.charged = charged
        self.held = frozenset(held)

    @property
    def passes(self) -> bool:
        """Whether another try may help and costs nobody anything; a refusal takes a person."""
        asked = {name: code for name, code in self.refused.items() if name not in self.held}
        hoped = self.silent + sum(code in _PASSING for code in asked.values())
        return not self.charged and hoped >= self.missing

    def __reduce__(self) -> tuple[Any, ...]:
        known = {name: getattr(self, name) for name in _FIELDS}
        return _rebuild, (self.message, known)


def _rebuild(message: str, known: Mapping[str, Any]) -> QuorumError:
    return QuorumError(message, **known)


def error_of(message: Message) -> str:
    """What stands in the place of a client's code where Flower answered for it."""
    return NO_ANSWER if message.error.code == _NODE_UNAVAILABLE else FLOWER_ERROR
