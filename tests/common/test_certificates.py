"""The server's certificate, by real TLS over a real socket."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.certificates import (
    Certificate,
    Key,
    certificate_pem,
    has_key,
    hosts_of,
    is_issued_by,
    issue,
    key_pem,
    load_certificate,
    load_key,
    make_authority,
    new_key,
)
from common.errors import Code, ConfigError
from tests.common.tls import handshake

SIGNER, KEY = new_key(), new_key()
AUTHORITY = make_authority("test", SIGNER, days=30)
LONG_AGO = datetime.now(UTC) - timedelta(days=90)
HOSTS = ("shop.example", "127.0.0.1")


def connect(
    folder: Path, certificate: Certificate, key: Key, authority: Certificate, to: str
) -> tuple[bytes, str | None]:
    """Serve one connection with the certificate and connect as a client would."""
    (folder / "tls.pem").write_bytes(certificate_pem(certificate))
    (folder / "tls_key.pem").write_bytes(key_pem(key))
    (folder / "ca.pem").write_bytes(certificate_pem(authority))
    return handshake(folder / "tls.pem", folder / "tls_key.pem", folder / "ca.pem", to)


@pytest.mark.parametrize("host", HOSTS)
def test_a_client_with_the_authority_connects_to_every_host(tmp_path: Path, host: str) -> None:
    certificate = issue(AUTHORITY, SIGNER, KEY, HOSTS, days=10)
    said, version = connect(tmp_path, certificate, KEY, AUTHORITY, host)
    assert said == b"hello"
    assert version == "TLSv1.3"


def test_a_certificate_that_is_over_is_refused(tmp_path: Path) -> None:
    old = make_authority("test", SIGNER, days=365, now=LONG_AGO)
    expired = issue(old, SIGNER, KEY, HOSTS, days=10, now=LONG_AGO)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        connect(tmp_path, expired, KEY, old, "127.0.0.1")
    renewed = issue(old, SIGNER, KEY, HOSTS, days=10)
    assert connect(tmp_path, renewed, KEY, old, "127.0.0.1")[0] == b"hello"


@pytest.mark.parametrize("host", ["other.example", "127.0.0.2", "sub.shop.example"])
def test_another_host_is_refused(tmp_path: Path, host: str) -> None:
    certificate = issue(AUTHORITY, SIGNER, KEY, HOSTS, days=10)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"match|mismatch"):
        connect(tmp_path, certificate, KEY, AUTHORITY, host)


def test_the_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    stranger = new_key()
    theirs = make_authority("test", stranger, days=30)
    forged = issue(theirs, stranger, KEY, HOSTS, days=10)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(tmp_path, forged, KEY, AUTHORITY, "127.0.0.1")


def test_a_server_cannot_vouch_for_another(tmp_path: Path) -> None:
    """Its certificate is no authority's."""
    certificate = issue(AUTHORITY, SIGNER, KEY, HOSTS, days=10)
    other = new_key()
    forged = issue(certificate, KEY, other, ("127.0.0.1",), days=5)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(tmp_path, forged, other, AUTHORITY, "127.0.0.1")


def test_it_does_not_outlive_its_authority() -> None:
    certificate = issue(AUTHORITY, SIGNER, KEY, HOSTS, days=400)
    assert certificate.not_valid_after_utc == AUTHORITY.not_valid_after_utc
    over = make_authority("test", SIGNER, days=10, now=LONG_AGO)
    with pytest.raises(ConfigError) as caught:
        issue(over, SIGNER, KEY, HOSTS, days=1)
    assert caught.value.code is Code.CERTIFICATE_INVALID


def test_what_belongs_together_is_known(tmp_path: Path) -> None:
    certificate = issue(AUTHORITY, SIGNER, KEY, HOSTS, days=10)
    assert hosts_of(certificate) == HOSTS
    assert hosts_of(AUTHORITY) == ()
    assert is_issued_by(certificate, AUTHORITY)
    assert not is_issued_by(certificate, make_authority("test", new_key(), days=30))
    assert has_key(certificate, KEY)
    assert not has_key(certificate, SIGNER)
    (tmp_path / "c.pem").write_bytes(certificate_pem(certificate))
    (tmp_path / "k.pem").write_bytes(key_pem(KEY))
    assert load_certificate(tmp_path / "c.pem") == certificate
    assert has_key(certificate, load_key(tmp_path / "k.pem"))
    for load in (load_certificate, load_key):
        for text in (None, b"", b"no key"):
            (tmp_path / "x.pem").unlink(missing_ok=True)
            if text is not None:
                (tmp_path / "x.pem").write_bytes(text)
            with pytest.raises(ConfigError) as caught:
                load(tmp_path / "x.pem")
            assert caught.value.code is Code.CERTIFICATE_INVALID


@pytest.mark.parametrize(
    "host",
    ["", "*", "*.example", "a:8000", "a/b", "-a.example", "Köln.example", "1.2.3", "1.2.3.4.5"],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        issue(AUTHORITY, SIGNER, KEY, (host,), days=10)
    assert caught.value.code is Code.CONFIG_INVALID


def test_both_kinds_of_addresses() -> None:
    certificate = issue(AUTHORITY, SIGNER, KEY, ("::1", "10.0.0.1", "Shop.Example"), days=10)
    assert hosts_of(certificate) == ("::1", "10.0.0.1", "shop.example")
