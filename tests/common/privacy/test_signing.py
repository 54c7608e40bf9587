"""Keys: what they sign, where they lie, what they never show."""

from __future__ import annotations

import hashlib
import math
import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from common.errors import Code, ConfigError, DataError
from common.privacy.signing import (
    PublicKey,
    Signature,
    SigningKey,
    canonical,
    is_signed,
    is_signed_text,
)

KEY = SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
VALUES = {"seq": 3, "hash": "ab" * 32, "client": "Köln"}
ROOT = Path(__file__).parents[3]


def test_thirty_two_bytes_in_hexadecimal_are_described_once() -> None:
    sources = [
        path for part in ("common", "client", "server") for path in (ROOT / part).rglob("*.py")
    ]
    having = {path.name for path in sources if "[0-9a-f]{64}$" in path.read_text()}
    assert having == {"signing.py"}


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=4), st.text())
def test_what_is_signed_is_found_signed_and_nothing_else(
    values: dict[str, object], label: str
) -> None:
    signature = KEY.sign(label, values)
    assert is_signed(KEY.public, signature, label, values)
    assert is_signed_text(KEY.public, signature, canonical(label, values))
    assert not is_signed_text(KEY.public, signature, canonical(label, values) + b" ")
    assert not is_signed(KEY.public, signature, f"{label} ", values)
    assert not is_signed(KEY.public, signature, label, {**values, "more": 1})
    assert not is_signed(SigningKey.create().public, signature, label, values)


def test_every_bit_of_a_signature_counts() -> None:
    signature = bytes.fromhex(KEY.sign("head", VALUES))
    for bit in range(8 * len(signature)):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        assert not is_signed(KEY.public, changed.hex(), "head", VALUES)


def test_signing_again_gives_the_same_bytes_whatever_the_order_of_keys() -> None:
    backwards = dict(reversed(VALUES.items()))
    assert KEY.sign("head", VALUES) == KEY.sign("head", backwards)


def test_what_is_signed_is_frozen() -> None:
    """A change of the form would make every signature of every ledger wrong."""
    text = '{"client":"K\\u00f6ln","hash":"' + "ab" * 32 + '","seq":3}'
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert canonical("head", VALUES) == f"hushrec head v1 {digest}".encode()
    assert KEY.public == "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    assert (
        hashlib.sha256(KEY.sign("head", VALUES).encode()).hexdigest().startswith("408e011b44c51821")
    )


@pytest.mark.parametrize("bad", ["", "zz", "ab", "0" * 63, "é" * 64])
def test_what_is_no_key_or_signature_signs_nothing(bad: str) -> None:
    assert not is_signed(bad, KEY.sign("head", VALUES), "head", VALUES)
    assert not is_signed(KEY.public, bad, "head", VALUES)


def test_what_is_not_a_number_cannot_be_signed_and_is_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        KEY.sign("head", {"x": math.nan})
    assert not is_signed(KEY.public, "00" * 64, "head", {"x": math.nan})


@pytest.mark.parametrize("text", ["", "AB" * 32, "ab" * 31, "ab" * 32 + "\n", " " + "ab" * 32])
def test_keys_and_signatures_are_lower_case_hexadecimal_of_the_right_length(text: str) -> None:
    for kind, size in ((PublicKey, 64), (Signature, 128)):
        adapter = TypeAdapter(kind)
        assert adapter.validate_python("0" * size) == "0" * size
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


def test_a_key_is_kept_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    key = SigningKey.create()
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).public == key.public
    key.save(path)  # over an older one too
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]


def test_a_key_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        KEY.save(tmp_path / "nowhere" / "key.pem")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        SigningKey.load(tmp_path / "key.pem")
    assert caught.value.code is Code.CONFIG_NOT_FOUND
    assert "key.pem" in str(caught.value)


def _pem(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b""
) -> bytes:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        _pem(ec.generate_private_key(ec.SECP256R1())),
        _pem(ed25519.Ed25519PrivateKey.generate(), b"password"),
        # a well-formed key of an algorithm that nobody knows
        b"-----BEGIN PRIVATE KEY-----\nMAsCAQAwBAYCKgMEAA==\n-----END PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_ed25519_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        SigningKey.load(path)
    assert caught.value.code is Code.CONFIG_INVALID


def test_a_key_shows_its_public_half_only(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    KEY.save(path)
    secret = bytes(range(32)).hex()
    for text in (repr(KEY), str(KEY), f"{KEY!r}"):
        assert KEY.public in text
        assert secret not in text


def test_derived_secrets_differ_by_purpose_and_by_key_and_are_not_the_key() -> None:
    secrets = {KEY.derive("a"), KEY.derive("b"), SigningKey.create().derive("a"), bytes(range(32))}
    assert len(secrets) == 4
    assert KEY.derive("a") == KEY.derive("a")
    assert len(KEY.derive("a")) == 32


@given(message=st.binary(max_size=300), flip=st.integers(0, 511))
def test_both_libraries_judge_a_signature_alike(message: bytes, flip: int) -> None:
    """Signatures are made by one and checked by the other."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    public = key.public_key()
    good = key.sign(message)
    bad = bytearray(good)
    bad[flip // 8] ^= 1 << flip % 8
    assert is_signed_text(public.public_bytes_raw().hex(), good.hex(), message)
    assert not is_signed_text(public.public_bytes_raw().hex(), bad.hex(), message)
    public.verify(good, message)
    with pytest.raises(InvalidSignature):
        public.verify(bytes(bad), message)


@pytest.mark.parametrize("point", ["00" * 32, "01" + "00" * 31], ids=["zero", "one"])
def test_a_key_of_low_order_signs_nothing(point: str) -> None:
    """Under such a key one signature would fit many texts."""
    assert not is_signed_text(point, point + "00" * 32, b"anything")
