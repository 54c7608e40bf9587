"""The server's folder: its secrets, its database, its log. Nobody else may look into it."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.errors import Code, ConfigError, RunError
from common.files import write_atomic

__all__ = ["Pair", "ServerFolder"]

_TOKEN: Final = "operator.token"  # noqa: S105  the name of a file
_VALID: Final = timedelta(days=3650)
_RENEWED: Final = timedelta(days=365)
"""What is valid for less is made anew, at a start."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class ServerFolder:
    """What the server keeps between starts."""

    path: Path

    @classmethod
    def opened(cls, path: Path) -> ServerFolder:
        """The folder, made if there is none.

        Raises:
            ConfigError: it cannot be made, or others may look into it.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = path.stat().st_mode
        except OSError as error:
            raise ConfigError(
                Code.CONFIG_INVALID, f"no folder: {error.strerror}.", where=str(path)
            ) from None
        if mode & 0o077:
            raise ConfigError(
                Code.CONFIG_INVALID,
                "others may look into the server's folder, which holds its secrets.",
                where=str(path),
                remedy=f"chmod 700 {path}",
            )
        return cls(path.resolve())

    @classmethod
    def of_server(cls, path: Path) -> ServerFolder:
        """The folder of a server that has run, as it is.

        Raises:
            ConfigError: none has run there, or it cannot be read.
        """
        folder = cls(path.resolve())
        try:
            missing = not ((path / _TOKEN).is_file() and folder.inside.certificate.is_file())
        except OSError:
            missing = True
        if missing:
            raise ConfigError(
                Code.CONFIG_NOT_FOUND,
                "no server has run here.",
                where=str(path),
                remedy="Start it first with `hushrec server run`, and log in as the same user.",
            )
        return folder

    @property
    def inside(self) -> Pair:
        """The certificate of the server's own, where it is or will be."""
        return Pair(self.path / "inside.pem", self.path / "inside.key")

    @property
    def database(self) -> Path:
        """Flower's database: nodes, runs, messages."""
        return self.path / "state.db"

    @property
    def access_log(self) -> Path:
        """Who came."""
        return self.path / "access.jsonl"

    @property
    def superexec_secret(self) -> Path:
        """What the process that starts ServerApps shows to the Runtime API."""
        return self._secret("superexec.secret")

    def operator_token(self) -> str:
        """What the operator's commands show to the Control API."""
        return self._secret(_TOKEN).read_text()

    def inside_certificate(self, host: str) -> Pair:
        """A certificate of the server's own for the address inside; made anew where it is old."""
        pair = self.inside
        if not (pair.key.exists() and pair.certificate.exists() and _is_good(pair, host)):
            certificate, key = _self_signed(host)
            write_atomic(pair.key, key, mode=0o600)
            write_atomic(pair.certificate, certificate)
        return pair

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one server of this folder.

        Raises:
            RunError: `run-in-use`, there is another.
        """
        file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise RunError(
                Code.RUN_IN_USE, "a server runs with this folder.", where=str(self.path)
            ) from None
        try:
            yield
        finally:
            os.close(file)

    def _secret(self, name: str) -> Path:
        path = self.path / name
        if not path.exists():
            write_atomic(path, secrets.token_hex(32).encode(), mode=0o600)
        return path


def _is_good(pair: Pair, host: str) -> bool:
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(name) for name in names.get_values_for_type(x509.IPAddress)}
    return host in known and certificate.not_valid_after_utc - datetime.now(UTC) > _RENEWED


def _self_signed(host: str) -> tuple[bytes, bytes]:
    """Certificate and key for one address of this machine, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + _VALID)
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
