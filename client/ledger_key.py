"""The ledger's key beside the ledger: made with it, never without it, never in its place.

While a ledger begins, its key has another name. It gets its own once the first row, which
names its public half, is on disk: so a process that dies in between leaves something that the
next one can finish, and a key without its ledger always means that a ledger was lost.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from client.ledger_file import cannot_write
from common.errors import Code, DataError, HushRecError, LedgerError
from common.privacy.signing import SigningKey

__all__ = ["KEY_NAME", "begin_key", "check_place", "keep_key", "load_key", "no_ledger"]

KEY_NAME: Final = "ledger_key.pem"
"""The ledger's private key, in the folder of the ledger."""
_BEGUN: Final = "ledger_key.begun.pem"


def no_ledger(path: Path) -> LedgerError:
    """`ledger-missing`: there is nothing at `path` to look at."""
    return _missing("there is no ledger", path)


def check_place(path: Path) -> None:
    """Refuse a place at `path` where a ledger is lost, whoever begins one meanwhile.

    The key is looked for first: a ledger that is beginning is there before its key is.

    Raises:
        LedgerError: `ledger-missing`, there is a key and no ledger.
    """
    if path.with_name(KEY_NAME).exists() and not path.exists():
        raise _lost(path)


def begin_key(path: Path, *, durable: bool = True) -> SigningKey:
    """Make the key of a ledger that is about to begin; call `keep_key` once it has.

    Args:
        path: the ledger.
        durable: wait for the disk.

    Raises:
        LedgerError: `ledger-missing`; `ledger-write`, the disk refuses.
    """
    if path.with_name(KEY_NAME).exists():  # of rows that are not in the file any more
        raise _lost(path)
    key = SigningKey.create()
    try:
        key.save(path.with_name(_BEGUN), durable=durable)
        if durable:
            _sync_folder(path.parent)
    except DataError as error:
        raise cannot_write(error.message, path) from None
    except OSError as error:
        raise cannot_write(error.strerror or "the folder", path) from None
    return key


def keep_key(path: Path, public: str) -> None:
    """Give the key of a ledger that has begun its name, unless it has it already.

    Args:
        path: the ledger.
        public: the public half that its first row names.

    Raises:
        LedgerError: `ledger-missing`, there is no such key.
    """
    begun, kept = path.with_name(_BEGUN), path.with_name(KEY_NAME)
    if kept.exists():
        return
    try:
        if SigningKey.load(begun).public == public:
            begun.replace(kept)
            return
    except (HushRecError, OSError):  # gone meanwhile, or never there
        pass
    if not kept.exists():  # else another process was faster
        raise _missing(f"its key, {kept.name}, is not beside it", path)


def load_key(path: Path, public: str) -> SigningKey:
    """The key of the ledger at `path`.

    Args:
        path: the ledger.
        public: the public half that its first row names.

    Raises:
        LedgerError: `ledger-missing`, it is not there or cannot be read;
            `ledger-signature`, it is the key of another ledger.
    """
    keep_key(path, public)
    try:
        key = SigningKey.load(path.with_name(KEY_NAME))
    except HushRecError as error:
        raise _missing(f"its key, {KEY_NAME}, cannot be read: {error.message}", path) from None
    if key.public != public:
        raise LedgerError(
            Code.LEDGER_SIGNATURE,
            f"{KEY_NAME} is not the key that the ledger names in its first row.",
            where=str(path),
            remedy="Put the ledger's own key back.",
        )
    return key


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _lost(path: Path) -> LedgerError:
    return _missing(f"there is a key, {KEY_NAME}, and no ledger", path)


def _missing(what: str, path: Path) -> LedgerError:
    return LedgerError(
        Code.LEDGER_MISSING,
        f"{what}.",
        where=str(path),
        remedy="Restore both, if the backup has the last head that any server or officer holds;"
        " a new ledger would spend the budget again.",
    )
