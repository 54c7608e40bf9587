"""Codes as they may be told to others than the owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from common.errors import Code

__all__ = ["LEAVES_AS", "as_it_leaves"]

LEAVES_AS: Final[Mapping[Code, Code]] = {Code.SNAPSHOT_CHANGED: Code.CLIENT_UNREADY}
"""Codes that tell what the data are like, and what is said in their place."""
_KNOWN: Final = {str(code): code for code in Code}


def as_it_leaves(code: object) -> str | None:
    """What is said in the place of a code; None where it is none."""
    known = _KNOWN.get(code) if isinstance(code, str) else None
    return None if known is None else str(LEAVES_AS.get(known, known))
