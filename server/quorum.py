"""Too few clients: who is missing and why, and whether that may pass by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from common.errors import Code, RunError

__all__ = ["FLOWER_ERROR", "NO_ANSWER", "QuorumError"]

NO_ANSWER: Final = "no-answer"
"""In the place of a code, where nothing came in time."""
FLOWER_ERROR: Final = "flower-error"
"""In the place of a code, where Flower reports an error of its own."""
_PASSING: Final = frozenset(
    {NO_ANSWER, FLOWER_ERROR, Code.INTERNAL, Code.CLIENT_UNREADY, Code.DISK_FULL, Code.LEDGER_WRITE}
)
"""What a client may get over without anybody's decision about what it allows."""


class QuorumError(RunError):
    """`run-quorum`, with who is missing.

    Args:
        message: what was wrong.
        where: the step.
        remedy: what to do.
        missing: how many more clients are needed.
        refused: code by client of those who did not take part.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        remedy: str = "",
        missing: int = 1,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(Code.RUN_QUORUM, message, where=where, remedy=remedy)
        self.missing = missing
        self.refused = {} if refused is None else dict(refused)

    @property
    def passes(self) -> bool:
        """Whether enough clients may come back; a refusal takes a person, or its owner's yes."""
        hoped = sum(code in _PASSING for code in self.refused.values())
        return not self.refused or hoped >= self.missing

    def __reduce__(self) -> tuple[Any, ...]:
        values = (self.message, self.where, self.remedy, self.missing, self.refused)
        return _rebuild, values


def _rebuild(
    message: str, where: str, remedy: str, missing: int, refused: Mapping[str, str]
) -> QuorumError:
    return QuorumError(message, where=where, remedy=remedy, missing=missing, refused=refused)
