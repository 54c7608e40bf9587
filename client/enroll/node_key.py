"""The key by which a server's transport lets this client's node in: ECDSA on P-384, OpenSSH."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from common.enrolment.cards import openssh_line
from common.enrolment.folders import exists, write_private
from common.errors import Code, ConfigError
from common.files import read_bytes

__all__ = ["NODE_KEY", "make_node_key", "node_line"]

NODE_KEY: Final = "node_key"
"""The private key, in the client's folder; what the launcher's `--key` takes."""


def make_node_key(folder: Path) -> str:
    """Make the key; its public half as one line of OpenSSH.

    Raises:
        ConfigError: `enroll-exists`, there is one.
        DataError: it cannot be written.
    """
    path = folder / NODE_KEY
    if path.exists():
        raise exists("there is a key", path, "Move it away yourself if it is lost to others.")
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    write_private(path, pem)
    return openssh_line(key.public_key())


def node_line(folder: Path) -> str:
    """The public half of a client's key, one line of OpenSSH.

    Raises:
        DataError: it cannot be read.
        ConfigError: `config-invalid`, it is no such key.
    """
    path = folder / NODE_KEY
    try:
        key = load_ssh_private_key(read_bytes(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(
            Code.CONFIG_INVALID,
            "no private key on a NIST curve without a password.",
            where=str(path),
            remedy="Restore it, or make a new one with `hushrec enroll renew client`.",
        )
    return openssh_line(key.public_key())
