"""What is sealed opens whole under its key and label, and not at all when a bit of it changed."""

from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from client.sealed import KEY_BYTES, Sealer, make_key
from common.errors import Code, DataError

CHUNK = 2**16
HEADER = 17 + 8 + 32
KEY = bytes(range(KEY_BYTES))
SEALER = Sealer(KEY)
SIZES = st.sampled_from(
    [0, 1, 15, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7, 3 * CHUNK]
)


def data_of(size: int) -> bytes:
    return (b"somebody bought something \n" * (size // 20 + 1))[:size]


def refusal(sealed: bytes, label: str = "events", sealer: Sealer = SEALER) -> Code:
    with pytest.raises(DataError) as caught:
        sealer.open(sealed, label, where="the file")
    assert caught.value.where == "the file"
    return caught.value.code


@given(data=st.one_of(st.binary(max_size=300), SIZES.map(data_of)), label=st.text(max_size=20))
def test_what_was_sealed_opens(data: bytes, label: str) -> None:
    sealed = SEALER.seal(data, label)
    assert Sealer(KEY).open(sealed, label) == data
    assert len(sealed) == HEADER + len(data) + 16 * max(-(-len(data) // CHUNK), 1)
    assert data[:40] not in sealed or len(data) < 8


def test_the_same_bytes_are_never_sealed_alike() -> None:
    one, other = SEALER.seal(b"x" * 100, "events"), SEALER.seal(b"x" * 100, "events")
    assert one[:25] == other[:25]
    assert not set(_words(one[25:])) & set(_words(other[25:]))


def _words(data: bytes) -> list[bytes]:
    return [data[at : at + 8] for at in range(0, len(data), 8)]


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(max_size=9), st.text(max_size=9))
def test_a_keyed_hash_is_of_key_label_and_data(
    one: bytes, other: bytes, label: str, second: str
) -> None:
    found = SEALER.keyed_hash(one, label)
    assert found == Sealer(KEY).keyed_hash(one, label)
    assert (found == SEALER.keyed_hash(other, second)) == ((one, label) == (other, second))
    assert found != Sealer(bytes(KEY_BYTES)).keyed_hash(one, label)
    info = b"hushrec store 1 hash " + label.encode()
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"", info=info).derive(KEY)
    assert found == hmac.new(key, one, hashlib.sha256).digest()


@settings(max_examples=150)
@given(size=SIZES, place=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(size: int, place: float, bit: int) -> None:
    sealed = bytearray(SEALER.seal(data_of(size), "events"))
    sealed[min(int(place * len(sealed)), len(sealed) - 1)] ^= 1 << bit
    assert refusal(bytes(sealed)) in {Code.DATA_FORMAT, Code.STORE_SEALED}


@settings(max_examples=150)
@given(size=SIZES, left=st.one_of(st.floats(0, 1), st.sampled_from([1, 2, 3])))
def test_what_is_cut_off_is_refused(size: int, left: float) -> None:
    """Also where a chunk ends, so that what is left is a file that looks whole."""
    sealed = SEALER.seal(data_of(size), "events")
    end = HEADER + int(left) * (CHUNK + 16) if left in {1, 2, 3} else int(left * len(sealed))
    if end < len(sealed):
        assert refusal(sealed[:end]) is Code.DATA_FORMAT


@given(order=st.permutations([0, 1, 2]), size=st.integers(2 * CHUNK + 1, 3 * CHUNK))
def test_chunks_in_another_order_are_refused(order: list[int], size: int) -> None:
    sealed = SEALER.seal(data_of(size), "events")
    chunks = [sealed[HEADER + n * (CHUNK + 16) :][: CHUNK + 16] for n in range(3)]
    again = sealed[:HEADER] + b"".join(chunks[n] for n in order)
    if order == [0, 1, 2]:
        assert SEALER.open(again, "events") == data_of(size)
    else:
        assert refusal(again) is Code.DATA_FORMAT


@pytest.mark.parametrize("more", [b"", b"\0", b"x" * (CHUNK + 16)])
def test_chunks_left_out_repeated_or_added_are_refused(more: bytes) -> None:
    sealed = SEALER.seal(data_of(3 * CHUNK), "events")
    first = sealed[HEADER : HEADER + CHUNK + 16]
    assert refusal(sealed[:HEADER] + sealed[HEADER + CHUNK + 16 :]) is Code.DATA_FORMAT
    assert refusal(sealed[:HEADER] + first + sealed[HEADER:]) is Code.DATA_FORMAT
    assert refusal(sealed + (more or first)) is Code.DATA_FORMAT


def test_chunks_of_another_file_are_refused() -> None:
    one, other = (SEALER.seal(data_of(2 * CHUNK), "events") for _ in range(2))
    assert refusal(one[: HEADER + CHUNK + 16] + other[HEADER + CHUNK + 16 :]) is Code.DATA_FORMAT


def test_a_file_is_what_its_label_says() -> None:
    assert refusal(SEALER.seal(b"held out", "heldout.parquet"), "events.parquet") is (
        Code.DATA_FORMAT
    )


def test_another_key_is_told_from_damage() -> None:
    sealed = SEALER.seal(b"x", "events")
    assert refusal(sealed, sealer=Sealer(bytes(KEY_BYTES))) is Code.STORE_SEALED
    assert refusal(b"PAR1" + bytes(200)) is Code.DATA_FORMAT
    assert refusal(b"") is Code.DATA_FORMAT


def test_the_form_is_as_it_is_written_down() -> None:
    """By the primitives alone, so that data can be opened without this program."""
    sealed = SEALER.seal(b"somebody", "events.parquet")
    header, salt = sealed[:HEADER], sealed[HEADER - 32 : HEADER]
    info = b"hushrec store 1 data events.parquet"
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(KEY)
    nonce = bytes(11) + b"\x01"
    assert AESGCM(key).decrypt(nonce, sealed[HEADER:], header) == b"somebody"
    assert header.startswith(b"hushrec sealed 1\n")


def test_a_key_is_its_owners_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "north.key"
    make_key(path)
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(text)) == KEY_BYTES
    assert text.strip() not in repr(Sealer.load(path))
    for wrong in (path, tmp_path / "nowhere" / "key"):
        with pytest.raises(DataError) as caught:
            make_key(wrong)
        assert caught.value.code is Code.DATA_NOT_FOUND
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "x" * 64, "é"])
def test_what_is_no_key_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        Sealer.load(path)
    assert caught.value.code is Code.STORE_SEALED
    assert not text or text not in str(caught.value)


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Sealer.load(tmp_path / "gone")
    assert caught.value.code is Code.STORE_SEALED
    assert "key_file" in caught.value.remedy
