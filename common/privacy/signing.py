"""Ed25519 keys that sign ledger heads, receipts and tasks.

A signature is deterministic, so that what is signed again is the same bytes. A client's
ledger key, a server's key and the keys of Flower's transport are different keys. Signatures
are made by OpenSSL and checked by libsodium, which takes a third less for each of the many
that a secure sum has, and refuses keys of low order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import crypto_sign_BYTES, crypto_sign_open, crypto_sign_PUBLICKEYBYTES
from nacl.exceptions import BadSignatureError
from pydantic import StringConstraints

from common.errors import Code, ConfigError
from common.files import write_atomic

__all__ = [
    "Hex32",
    "PublicKey",
    "Signature",
    "SigningKey",
    "canonical",
    "is_signed",
    "is_signed_text",
]

Hex32: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""32 bytes in hexadecimal: a key, a secret, or a SHA-256."""
PublicKey: TypeAlias = Hex32
"""An Ed25519 public key in hexadecimal."""
Signature: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
"""An Ed25519 signature in hexadecimal."""

_MODE: Final = 0o600


class SigningKey:
    """A private key. Its text form and `repr` show the public half only."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def create(cls) -> Self:
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key in PEM.

        Raises:
            ConfigError: `config-not-found` or `config-invalid`.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise ConfigError(
                Code.CONFIG_NOT_FOUND, f"no key: {error.strerror}.", where=str(path)
            ) from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _no_key(path) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise _no_key(path)
        return cls(key)

    def save(self, path: Path, *, durable: bool = True) -> None:
        """Write the key in PEM, readable by its owner alone."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_atomic(path, pem, mode=_MODE, durable=durable)

    @property
    def public(self) -> str:
        """The public half, hexadecimal."""
        raw = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return raw.hex()

    def sign(self, label: str, values: Mapping[str, Any]) -> str:
        """Signature of `values` for the purpose `label`, hexadecimal."""
        return self._key.sign(canonical(label, values)).hex()

    def derive(self, label: str) -> bytes:
        """A secret of 32 bytes for the purpose `label`: HKDF-SHA256 of the private key.

        It tells nothing about the key, and only who has the key can make it.
        """
        raw = self._key.private_bytes(
            serialization.Encoding.Raw,
            serialization.PrivateFormat.Raw,
            serialization.NoEncryption(),
        )
        info = f"hushrec {label} v1".encode()
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(raw)

    def __repr__(self) -> str:
        return f"SigningKey({self.public})"


def is_signed(public: str, signature: str, label: str, values: Mapping[str, Any]) -> bool:
    """Whether `public` signed `values` for the purpose `label`."""
    try:
        text = canonical(label, values)
    except ValueError:
        return False
    return is_signed_text(public, signature, text)


def is_signed_text(public: str, signature: str, text: bytes) -> bool:
    """Whether `public` signed what `canonical` made: for many signatures under one text."""
    try:
        key, signed = bytes.fromhex(public), bytes.fromhex(signature)
        if len(key) != crypto_sign_PUBLICKEYBYTES or len(signed) != crypto_sign_BYTES:
            return False
        crypto_sign_open(signed + text, key)
    except (BadSignatureError, ValueError):
        return False
    return True


def canonical(label: str, values: Mapping[str, Any]) -> bytes:
    """What is signed: a label that keeps purposes apart, and a hash of canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"hushrec {label} v1 {hashlib.sha256(text.encode()).hexdigest()}".encode()


def _no_key(path: Path) -> ConfigError:
    return ConfigError(
        Code.CONFIG_INVALID,
        "not an Ed25519 private key in PEM.",
        where=str(path),
        remedy="Restore the key from its backup.",
    )
