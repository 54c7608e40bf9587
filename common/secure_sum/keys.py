"""Keys of one session: pairs on Curve25519, what two of them agree on, and seals.

Everything derived names its purpose, the session's context and who it is for or between, in
order: what was made for one use is worth nothing in another.
"""

from __future__ import annotations

import functools
import secrets
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import Code
from common.secure_sum.refusals import refusal

__all__ = ["KEY_BYTES", "PairKey", "derive", "fresh_seed", "is_sound", "open_sealed", "seal"]

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FIELD: Final = 2**255 - 19
_LOW_ORDER: Final = frozenset(
    {
        bytes(32).hex(),
        (1).to_bytes(32, "little").hex(),
        (_FIELD - 1).to_bytes(32, "little").hex(),
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    }
)
"""Points with which everybody agrees on zero, on the curve and its twist (Bernstein 2006)."""


class PairKey:
    """A private X25519 key. Its `repr` shows the public half only."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def create(cls) -> Self:
        """A new key from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def of(cls, private: bytes) -> Self:
        """The key with this private half, 32 bytes."""
        return cls(X25519PrivateKey.from_private_bytes(private))

    @property
    def private(self) -> bytes:
        """The private half, 32 bytes: what is dealt in shares."""
        return self._key.private_bytes(
            serialization.Encoding.Raw,
            serialization.PrivateFormat.Raw,
            serialization.NoEncryption(),
        )

    @functools.cached_property
    def public(self) -> str:
        """The public half, hexadecimal."""
        raw = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return raw.hex()

    def agree(self, public: str, purpose: str, context: str, names: tuple[str, str]) -> bytes:
        """A secret of 32 bytes that the owner of `public` can make too (RFC 7748, RFC 5869).

        Args:
            public: the peer's public half, hexadecimal.
            purpose: what the secret is for.
            context: of the session.
            names: the two clients, in an order that both keep to.

        Raises:
            SumError: `sum-peers`, the peer's key is of low order: everybody would know the
                secret.
        """
        return derive(self._shared(public, names), purpose, context, names)

    def agree_both_ways(
        self, public: str, purpose: str, context: str, names: tuple[str, str]
    ) -> tuple[bytes, bytes]:
        """What `agree` makes for `names`, and for the two the other way round.

        Raises:
            SumError: as `agree`.
        """
        shared = self._shared(public, names)
        there, back = names, (names[1], names[0])
        return derive(shared, purpose, context, there), derive(shared, purpose, context, back)

    def _shared(self, public: str, names: tuple[str, str]) -> bytes:
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public)))
        except ValueError:
            message = f"a key of {names[0]} or {names[1]} is of low order."
            raise refusal(Code.SUM_PEERS, message, where="keys") from None

    def __repr__(self) -> str:
        return f"PairKey({self.public})"


def fresh_seed() -> bytes:
    """32 bytes from the operating system."""
    return secrets.token_bytes(KEY_BYTES)


def derive(secret: bytes, purpose: str, context: str, names: tuple[str, ...]) -> bytes:
    """A key of 32 bytes for one purpose: HKDF-SHA256 of `secret`.

    Names and contexts hold no spaces, so that no two uses have the same text.
    """
    info = " ".join(("hushrec sum", purpose, "v1", context, *names)).encode()
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def is_sound(public: str) -> bool:
    """Whether a public half is a point of high order, written in the one canonical way.

    X25519 takes other numbers for the same point: a copy of a peer's key could look new.
    """
    written = int.from_bytes(bytes.fromhex(public), "little")
    return written < _FIELD and public not in _LOW_ORDER


def seal(key: bytes, text: bytes, about: str) -> str:
    """Nonce and AES-GCM ciphertext of `text`, bound to `about`; hexadecimal."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return (nonce + AESGCM(key).encrypt(nonce, text, about.encode())).hex()


def open_sealed(key: bytes, sealed: str, about: str) -> bytes | None:
    """What was sealed; None if it was sealed by another key, about something else, or changed."""
    try:
        raw = bytes.fromhex(sealed)
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], about.encode())
    except (InvalidTag, ValueError):
        return None
