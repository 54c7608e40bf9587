"""X.509 for the server's TLS: an authority of the federation's own, and certificates by it.

Keys are on P-256, signatures ECDSA with SHA-256. Clients trust the authority alone, by the
invitation; no public authority can vouch for another server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import Code, ConfigError

__all__ = [
    "Certificate",
    "Key",
    "certificate_pem",
    "has_key",
    "hosts_of",
    "is_issued_by",
    "issue",
    "key_pem",
    "load_certificate",
    "load_key",
    "make_authority",
    "new_key",
    "read_certificate",
]

Certificate: TypeAlias = x509.Certificate
Key: TypeAlias = ec.EllipticCurvePrivateKey
_SKEW: Final = timedelta(hours=1)
"""Clocks of clients may be so far behind."""
_HOST: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.A)


def new_key() -> Key:
    """A new private key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(name: str, key: Key, *, days: int, now: datetime | None = None) -> Certificate:
    """A certificate that its own key signs, and that may sign those of servers.

    Args:
        name: what people see in it.
        key: of the authority.
        days: validity from `now` on.
        now: with a zone; None asks the clock.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    builder = _builder(subject, subject, key, *_span(days, now))
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def issue(
    authority: Certificate,
    signer: Key,
    key: Key,
    hosts: Sequence[str],
    *,
    days: int,
    now: datetime | None = None,
) -> Certificate:
    """A server's certificate; it never outlives the authority's.

    Args:
        authority: who vouches.
        signer: the authority's key.
        key: the server's.
        hosts: names and IP addresses under which the server is reached, at least one.
        days: validity from `now` on.
        now: with a zone; None asks the clock.

    Raises:
        ConfigError: `config-invalid`, one of `hosts` is neither; `certificate-invalid`, the
            authority is over.
    """
    start, end = _span(days, now)
    end = min(end, authority.not_valid_after_utc)
    if end <= start + _SKEW:
        raise _invalid("the authority's own certificate is over", "Enrol a server anew.")
    names = [_alternative(host) for host in hosts]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        _builder(subject, authority.subject, key, start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(server, critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer, hashes.SHA256())
    )


def hosts_of(certificate: Certificate) -> tuple[str, ...]:
    """Names and addresses that a server's certificate is for; of an authority's, none."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in found.value)


def is_issued_by(certificate: Certificate, authority: Certificate) -> bool:
    """Whether the authority signed it, whatever the date."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def has_key(certificate: Certificate, key: Key) -> bool:
    """Whether it is a certificate of this key."""
    return certificate.public_key() == key.public_key()


def certificate_pem(certificate: Certificate) -> bytes:
    """The certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: Key) -> bytes:
    """The private key in PEM, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_certificate(path: Path) -> Certificate:
    """The certificate in a file.

    Raises:
        ConfigError: `certificate-invalid`.
    """
    return read_certificate(_bytes(path), where=str(path))


def read_certificate(pem: bytes, *, where: str) -> Certificate:
    """The certificate in `pem`.

    Raises:
        ConfigError: `certificate-invalid`.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise _invalid("not a certificate in PEM", "Restore it.", where) from None


def load_key(path: Path) -> Key:
    """The private key in a file.

    Raises:
        ConfigError: `certificate-invalid`.
    """
    try:
        key = serialization.load_pem_private_key(_bytes(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _invalid("not a private key on a curve in PEM", "Restore it.", str(path))
    return key


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = "Restore it from its backup."
        raise _invalid(f"cannot be read: {error.strerror}", remedy, str(path)) from None


def _span(days: int, now: datetime | None) -> tuple[datetime, datetime]:
    start = (datetime.now(UTC) if now is None else now).replace(microsecond=0)
    return start - _SKEW, start + timedelta(days=days)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(identifier, critical=False)
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**dict.fromkeys(names, False) | allowed)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if (
        len(host) > 253
        or _HOST.fullmatch(host.lower()) is None
        or host.rpartition(".")[2].isdigit()
    ):
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{host!r} is neither a host's name nor an IP address.",
            where="--host",
            remedy="Give a name without port, path or `*`; one with other letters as `xn--…`.",
        )
    return x509.DNSName(host.lower())


def _invalid(what: str, remedy: str, where: str = "certificate") -> ConfigError:
    return ConfigError(Code.CERTIFICATE_INVALID, f"{what}.", where=where, remedy=remedy)
