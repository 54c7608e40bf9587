"""Encryption at rest: bytes that only who has the owner's key can read, or change unnoticed.

The form is a header and chunks of 64 KiB, each AES-256-GCM under a key that HKDF-SHA256 makes
of the owner's key, a random salt of 32 bytes and a label. The nonce is the chunk's number and
whether it is the last (the STREAM construction: Hoang, Reyhanitabar, Rogaway and Vizár 2015),
the header is authenticated with every chunk.

Guarantee:
    What was sealed under one label opens under that label alone, whole and in order; a chunk
    that was changed, moved, left out, repeated or cut off is refused before any of it is used.
    Two seals of the same bytes have nothing in common but their length. Not hidden: the
    length, and that two files have the same key. Not noticed: an older seal of the same label
    that was put back.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import Code, DataError
from common.files import write_atomic
from common.folder_lock import folder_lock

__all__ = ["KEY_BYTES", "Sealer", "make_key"]

KEY_BYTES: Final = 32
_MAGIC: Final = b"hushrec sealed 1\n"
_ID_BYTES: Final = 8
_SALT_BYTES: Final = 32
_HEADER_BYTES: Final = len(_MAGIC) + _ID_BYTES + _SALT_BYTES
_CHUNK_BYTES: Final = 2**16
_TAG_BYTES: Final = 16
_COUNTER_BYTES: Final = 11
_PUT_BACK: Final = "Put the key back, or set `key_file` in client.toml to where it is."


class Sealer:
    """Seals and opens under one key. Its `repr` does not show it.

    Args:
        key: 32 random bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise _sealed(f"a key has {KEY_BYTES} bytes, not {len(key)}", "key")
        self._key = key
        self._id = _derived(key, b"", b"id")[:_ID_BYTES]

    @classmethod
    def load(cls, path: Path) -> Self:
        """The key in a file that `make_key` wrote.

        Raises:
            DataError: `store-sealed`, it is not there, cannot be read or is no key.
        """
        try:
            text = path.read_text(encoding="ascii")
        except OSError as error:
            raise _sealed(f"the key cannot be read: {error.strerror}", str(path)) from None
        except ValueError:
            raise _sealed("this is no key", str(path)) from None
        try:
            return cls(bytes.fromhex(text.strip()))
        except (ValueError, DataError):  # their text could quote the key
            raise _sealed("this is no key", str(path)) from None

    def seal(self, data: bytes, label: str) -> bytes:
        """Encrypt.

        Args:
            data: whatever; may be empty.
            label: what it is; needed to open it again.
        """
        salt = secrets.token_bytes(_SALT_BYTES)
        header = _MAGIC + self._id + salt
        cipher = self._cipher(salt, label)
        sealed = (
            cipher.encrypt(nonce, data[at : at + _CHUNK_BYTES], header)
            for nonce, at in _places(len(data), _CHUNK_BYTES)
        )
        return header + b"".join(sealed)

    def open(self, sealed: bytes, label: str, *, where: str = "") -> bytes:
        """Decrypt what `seal` made under the same label.

        Args:
            sealed: all of it.
            label: as it was sealed.
            where: the file, for errors.

        Raises:
            DataError: `store-sealed`, it was sealed under another key; `data-format`, it is
                not sealed, is something else, was changed or is cut off.
        """
        header, chunks = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
            raise _damaged("this is not a sealed file, or its beginning is gone", where)
        if header[len(_MAGIC) : -_SALT_BYTES] != self._id:
            raise _sealed("this was sealed under another key", where)
        cipher = self._cipher(header[-_SALT_BYTES:], label)
        step = _CHUNK_BYTES + _TAG_BYTES
        try:
            opened = [
                cipher.decrypt(nonce, chunks[at : at + step], header)
                for nonce, at in _places(len(chunks), step)
            ]
        except (InvalidTag, ValueError):
            raise _damaged("the sealed file was changed, swapped or cut off", where) from None
        return b"".join(opened)

    def keyed_hash(self, data: bytes, label: str) -> bytes:
        """HMAC-SHA256 under a key made of the owner's: a name that says nothing without it.

        Args:
            data: what is to be found again.
            label: of its use; the same data have another hash under another label.

        Returns:
            32 bytes, the same for the same data.
        """
        return hmac.digest(_derived(self._key, b"", b"hash " + label.encode()), data, "sha256")

    def _cipher(self, salt: bytes, label: str) -> AESGCM:
        return AESGCM(_derived(self._key, salt, b"data " + label.encode()))

    def __repr__(self) -> str:
        return f"Sealer({self._id.hex()})"


def make_key(path: Path) -> None:
    """Write a new key, for its owner alone; on disk when this returns.

    Raises:
        DataError: `data-not-found`, there is a file already, or none can be made there;
            `disk-full`.
    """
    try:
        with folder_lock(path.parent) as names:  # two that make one key would each use their own
            if path.exists():
                raise FileExistsError(errno.EEXIST, "there is a file already")
            write_atomic(path, f"{secrets.token_hex(KEY_BYTES)}\n".encode(), mode=0o600)
            os.fsync(names)
    except OSError as error:
        raise DataError(
            Code.DATA_NOT_FOUND,
            f"no key can be written: {error.strerror}.",
            where=str(path),
            remedy="Choose a new file in a folder that exists; a key is never replaced.",
        ) from None


def _derived(key: bytes, salt: bytes, use: bytes) -> bytes:
    info = b"hushrec store 1 " + use
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(key)


def _places(size: int, step: int) -> Iterator[tuple[bytes, int]]:
    """Nonce and beginning of each chunk; nothing at all is one empty chunk."""
    number = max(-(-size // step), 1)
    for counter in range(number):
        last = bytes([counter == number - 1])
        yield counter.to_bytes(_COUNTER_BYTES, "big") + last, counter * step


def _sealed(what: str, where: str) -> DataError:
    return DataError(Code.STORE_SEALED, f"{what}.", where=where, remedy=_PUT_BACK)


def _damaged(what: str, where: str) -> DataError:
    remedy = "Restore it from a backup, or import the shop's log again."
    return DataError(Code.DATA_FORMAT, f"{what}.", where=where, remedy=remedy)
