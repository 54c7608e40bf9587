"""What a secure sum cannot do without: its primitives, counted and priced on this machine.

Nothing but the calls into `cryptography`: no copies, no JSON, no checks, no sharing of secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import crypto_sign_open

from simulations.benchmarks.secure_sum.clock import Clock

__all__ = ["Sum", "client_counts", "counts", "prices", "seconds", "server_counts"]

_CHUNK: Final = 2**20
_INFO: Final = bytes(200)
_ROUNDS: Final = 5
_WORD_BYTES: Final = 4


@dataclass(frozen=True)
class Sum:
    """The size of one secure sum.

    Attributes:
        clients: n, at least 2; all of them deal shares.
        survivors: those who go on to the end.
        threshold: t.
        words: numbers in the sum, of 4 bytes.
        peers: clients that each client shares a mask with; `clients - 1` if the graph is complete.
    """

    clients: int
    survivors: int
    threshold: int
    words: int
    peers: int


def client_counts(size: Sum) -> dict[str, float]:
    """How often one client that goes on to the end calls each primitive.

    It agrees on one key to seal and one to mask with every peer, checks every peer's offer, and
    a threshold of signatures under the list of survivors, its own not.
    """
    dealing, k = _dealing_counts(size), size.peers
    dealing["key agreement"] += k
    dealing["key derivation"] += k + 1
    dealing["signature"] += 1
    dealing["check of a signature"] += size.threshold - 1
    return {**dealing, "opening": k, "byte of a mask": _WORD_BYTES * size.words * (k + 1)}


def _dealing_counts(size: Sum) -> dict[str, float]:
    """The same of one that falls silent after the stage of shares."""
    k = float(size.peers)
    return {
        "key pair": 2.0,
        "key agreement": k,
        "key derivation": k,
        "signature": 1.0,
        "check of a signature": k,
        "sealing": k,
    }


def server_counts(size: Sum) -> dict[str, float]:
    """The same at the server: own masks of survivors, pair masks of the others with them."""
    pairs = (size.clients - size.survivors) * size.survivors * size.peers / (size.clients - 1)
    masks = size.survivors + pairs
    return {
        "key agreement": pairs,
        "key derivation": masks,
        "byte of a mask": _WORD_BYTES * size.words * masks,
    }


def counts(size: Sum) -> dict[str, float]:
    """The same of all clients and the server together."""
    gone = size.clients - size.survivors
    parts = (client_counts(size), size.survivors), (_dealing_counts(size), gone)
    found = server_counts(size)
    for part, times in parts:
        for name, count in part.items():
            found[name] = found.get(name, 0.0) + times * count
    return found


def seconds(found: Mapping[str, float], priced: Mapping[str, float]) -> float:
    """What so many calls cost."""
    return sum(count * priced[name] for name, count in found.items())


def prices(repeats: int = 300) -> dict[str, float]:
    """Processor seconds of one of each primitive, on one core: the best of five series.

    Args:
        repeats: calls in a series.
    """
    own, raw = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    peer = raw.public_bytes_raw()
    signer, message = Ed25519PrivateKey.generate(), bytes(64)
    checker, signed = signer.public_key().public_bytes_raw(), signer.sign(message) + message
    box, nonce, share = AESGCM(bytes(32)), bytes(12), bytes(80)
    sealed = box.encrypt(nonce, share, _INFO)
    calls: Mapping[str, Callable[[], object]] = {
        "key pair": X25519PrivateKey.generate,
        "key agreement": lambda: own.exchange(X25519PublicKey.from_public_bytes(peer)),
        "key derivation": lambda: HKDF(SHA256(), 32, None, _INFO).derive(peer),
        "signature": lambda: signer.sign(message),
        "check of a signature": lambda: crypto_sign_open(signed, checker),
        "sealing": lambda: box.encrypt(nonce, share, _INFO),
        "opening": lambda: box.decrypt(nonce, sealed, _INFO),
    }
    found = {name: _best(call, repeats) for name, call in calls.items()}
    return {**found, "byte of a mask": _best(_stream(), max(repeats // 10, 1)) / _CHUNK}


def _stream() -> Callable[[], object]:
    zeros, out = bytes(_CHUNK), bytearray(_CHUNK + 15)
    encryptor = Cipher(algorithms.AES(bytes(range(32))), modes.CTR(bytes(16))).encryptor()
    return lambda: encryptor.update_into(zeros, out)


def _best(call: Callable[[], object], repeats: int) -> float:
    found = []
    for _ in range(_ROUNDS):
        with Clock() as clock:
            for _ in range(repeats):
                call()
        found.append(clock.seconds.processor / repeats)
    return min(found)
