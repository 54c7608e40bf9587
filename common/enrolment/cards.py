"""The two files that leave their owners: a server's invitation, and a client's card.

Both are public. Both are signed by the key that they name, so that nobody can put somebody
else's key under a name of their own; whether they came unchanged, and from whom, only their
fingerprint says.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)
from pydantic import AfterValidator, Field, StringConstraints

from common.certificates import certificate_pem, read_certificate
from common.config import Settings, read_json
from common.errors import Code, ConfigError
from common.files import write_atomic
from common.fingerprints import fingerprint
from common.privacy.policy import Sha256
from common.privacy.roster import ClientName
from common.privacy.signing import PublicKey, Signature, SigningKey, is_signed

__all__ = ["Address", "Card", "Invitation", "TransportKey", "line_of_pem", "openssh_line"]

_PUBLIC: Final = 0o644


def openssh_line(key: ec.EllipticCurvePublicKey) -> str:
    """The public key of a node as `flwr supernode register` takes it, without a comment."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def line_of_pem(pem: bytes) -> str | None:
    """The same, from how Flower keeps a node's key; None for what is no such key."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return openssh_line(key) if isinstance(key, ec.EllipticCurvePublicKey) else None


def _transport_key(line: str) -> str:
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or openssh_line(key) != line:
        raise ValueError("not a public key on a NIST curve in one line of OpenSSH")
    return line


TransportKey: TypeAlias = Annotated[str, Field(max_length=1024), AfterValidator(_transport_key)]
"""A node's public key: one line of OpenSSH, without a comment."""
Address: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9.-]{1,253}|\[[0-9a-f:.]+\]):[0-9]{1,5}$")
]
"""HOST:PORT; an address of version 6 is in brackets."""


class _Signed(Settings):
    """What is signed by the key that it names.

    Guarantee:
        `load_file` and `signed` return nothing that its key did not sign; every field but the
        signature is part of the fingerprint.
    """

    purpose: ClassVar[str]
    signature: Signature
    """Of everything else, by the key that the file names."""

    @property
    @abstractmethod
    def signer(self) -> str:
        """The public key that has to have signed."""

    @property
    def content(self) -> dict[str, Any]:
        """What is signed, and what the fingerprint vouches for."""
        return self.model_dump(mode="json", exclude={"signature"})

    @property
    def fingerprint(self) -> str:
        """What people compare."""
        return fingerprint(self.purpose, self.content)

    @classmethod
    def signed(cls, key: SigningKey, **values: Any) -> Self:
        """Made of `values`, and signed.

        Raises:
            ConfigError: `config-invalid`, or `enroll-card` where `key` is not the one named.
        """
        unsigned = cls.load({**values, "signature": "0" * 128}, where=cls.purpose)
        made = unsigned.model_copy(update={"signature": key.sign(cls.purpose, unsigned.content)})
        return made.checked(cls.purpose)

    @classmethod
    def load_file(cls, path: Path) -> Self:
        """Read a file that somebody sent.

        Raises:
            ConfigError: `config-not-found`, `config-invalid` or `config-unknown-key`;
                `enroll-card`, it is not signed by the key that it names.
        """
        return cls.load(read_json(path), where=str(path)).checked(str(path))

    def save(self, path: Path) -> None:
        """Write the file, for everybody to read."""
        write_atomic(path, (self.model_dump_json(indent=2) + "\n").encode(), mode=_PUBLIC)

    def checked(self, where: str) -> Self:
        """The file itself, if the key that it names signed it.

        Raises:
            ConfigError: `enroll-card`.
        """
        if not is_signed(self.signer, self.signature, self.purpose, self.content):
            raise ConfigError(
                Code.ENROLL_CARD,
                f"the {self.purpose} is not signed by the key that it names: it was changed.",
                where=where,
                remedy="Ask its owner for it again.",
            )
        return self


class Card(_Signed):
    """A client, for the operator and the other clients."""

    purpose: ClassVar[str] = "card"
    format: Literal["hushrec-card/1"] = "hushrec-card/1"
    """What the file is."""
    name: ClientName
    """How the client is called in the federation."""
    transport_key: TransportKey
    """By which the server's transport lets its node in."""
    roster_key: PublicKey
    """By which the other clients know its part in secure sums."""

    @property
    def signer(self) -> str:
        """The roster key."""
        return self.roster_key


def _authority(pem: str) -> str:
    try:
        found = read_certificate(pem.encode(), where="authority")
    except ConfigError as error:
        raise ValueError(error.message) from None
    if certificate_pem(found).decode() != pem:
        raise ValueError("there is more than one certificate")
    return pem


class Invitation(_Signed):
    """A server, for clients that join."""

    purpose: ClassVar[str] = "invitation"
    format: Literal["hushrec-invitation/1"] = "hushrec-invitation/1"
    """What the file is."""
    superlink: Address
    """Where nodes connect to."""
    server: PublicKey
    """Signs tasks; goes into clients' policies."""
    authority: Annotated[str, Field(max_length=8192), AfterValidator(_authority)]
    """Certificate of the authority that vouches for the server's TLS, in PEM."""
    catalogue: Sha256 | None = None
    """Version of the public catalogue, if the operator names one."""

    @property
    def signer(self) -> str:
        """The server's key."""
        return self.server
