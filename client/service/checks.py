"""Bounds of what a call may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from common.errors import Code, ProtocolError

__all__ = [
    "LONGEST_ID",
    "LONGEST_QUERY",
    "MOST_BUNDLED",
    "MOST_EVENTS",
    "MOST_ITEMS",
    "MOST_LISTED",
    "check_list",
    "count_of",
    "named",
    "text_of",
]

LONGEST_ID: Final = 256
"""Characters of an id or a category."""
LONGEST_QUERY: Final = 500
"""Characters of a query."""
MOST_ITEMS: Final = 1000
"""Items of one answer."""
MOST_BUNDLED: Final = 50
"""Items that are added to a bundle."""
MOST_LISTED: Final = 1000
"""Entries of a list in a request."""
MOST_EVENTS: Final = 1000
"""Events of one call."""


def count_of(asked: int, default: int, most: int, field: str) -> int:
    """How many items to answer with; 0 is `default`.

    Raises:
        ProtocolError: `request-invalid`, it is negative or above `most`.
    """
    if not 0 <= asked <= most:
        raise _invalid(f"{asked} is not between 0 and {most}", field)
    return asked or default


def named(text: str, field: str) -> str:
    """An id without spaces around it, as an import reads it.

    Raises:
        ProtocolError: `request-invalid`, it is empty or too long.
    """
    found = text_of(text, LONGEST_ID, field)
    if not found:
        raise _invalid("it is empty", field)
    return found


def text_of(text: str, longest: int, field: str) -> str:
    """A text without spaces around it.

    Raises:
        ProtocolError: `request-invalid`, it is longer than `longest` characters.
    """
    found = text.strip()
    if len(found) > longest:
        raise _invalid(f"it has {len(found)} characters, more than {longest}", field)
    return found


def check_list(entries: Sequence[object], most: int, field: str) -> None:
    """Hold a list to its bound.

    Raises:
        ProtocolError: `request-invalid`, it is longer than `most`.
    """
    if len(entries) > most:
        raise _invalid(f"it has {len(entries)} entries, more than {most}", field)


def _invalid(what: str, field: str) -> ProtocolError:
    return ProtocolError(Code.REQUEST_INVALID, f"{what}.", where=field)
