"""What a client says while its data cannot be used, whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path

from common.errors import Code, DataError

__all__ = ["unready"]


def unready(error: Exception, folder: Path) -> DataError:
    """`client-unready`, with the whole of what is wrong for the owner's own terminal.

    Args:
        error: what came out of reading the data.
        folder: the client's.
    """
    return DataError(
        Code.CLIENT_UNREADY,
        f"the client's data cannot be used: {getattr(error, 'message', repr(error))}",
        where=getattr(error, "where", "") or str(folder),
        remedy=getattr(error, "remedy", "") or "Import the log again.",
    )
