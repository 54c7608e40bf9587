import secrets
import tracemalloc

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common.secure_sum import masks
from common.secure_sum.masks import shift, word_bits

KINDS = pytest.mark.parametrize("kind", [np.uint32, np.uint64], ids=["32", "64"])
KEYS = st.lists(st.binary(min_size=32, max_size=32), max_size=3)
FALSE_ALARM = 1e-10


def slow_stream(key: bytes, words: int, width: int) -> list[int]:
    """Blocks of a counter, enciphered one at a time, cut into little-endian words."""
    cipher = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    blocks = -(-words * width // 16)
    raw = b"".join(cipher.update(block.to_bytes(16, "big")) for block in range(blocks))
    return [int.from_bytes(raw[i * width : (i + 1) * width], "little") for i in range(words)]


def slow_shift(values, adds, subtracts, width):
    values = [int(value) for value in values]
    for keys, sign in ((adds, 1), (subtracts, -1)):
        for key in keys:
            stream = slow_stream(key, len(values), width)
            values = [v + sign * s for v, s in zip(values, stream, strict=True)]
    return [value % 2 ** (8 * width) for value in values]


def chi_square_of_bytes(words) -> float:
    """Two-sided p of the bytes being uniform."""
    counts = np.bincount(words.reshape(-1).view(np.uint8), minlength=256)
    p = stats.chisquare(counts).pvalue
    return float(2 * min(p, 1 - p))


@KINDS
@settings(deadline=None)
@given(adds=KEYS, subtracts=KEYS, size=st.integers(0, 40), data=st.data())
def test_masks_are_what_the_slow_stream_says(kind, adds, subtracts, size, data):
    most = int(np.iinfo(kind).max)
    values = data.draw(st.lists(st.integers(0, most), min_size=size, max_size=size))
    words = np.array(values, dtype=kind)
    shift(words, adds, subtracts)
    assert words.tolist() == slow_shift(values, adds, subtracts, words.dtype.itemsize)


@KINDS
def test_chunks_and_batches_do_not_show(kind, monkeypatch):
    keys = [secrets.token_bytes(32) for _ in range(7)]
    whole = np.arange(1000, dtype=kind)
    parts = whole.copy()
    shift(whole, keys[:4], keys[4:])
    monkeypatch.setattr(masks, "_CHUNK_BYTES", 48)
    monkeypatch.setattr(masks, "_MOST_STREAMS", 2)
    shift(parts, keys[:4], keys[4:])
    np.testing.assert_array_equal(whole, parts)


@KINDS
def test_more_words_than_a_chunk(kind):
    key = secrets.token_bytes(32)
    words = np.zeros(masks._CHUNK_BYTES // 2, dtype=kind)
    shift(words, [key])
    assert words.tolist() == slow_stream(key, words.size, words.dtype.itemsize)


def test_no_second_array_of_the_full_size_is_made():
    words = np.zeros(1 << 22, dtype=np.uint32)
    keys = [secrets.token_bytes(32) for _ in range(4)]
    tracemalloc.start()
    shift(words, keys[:2], keys[2:])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < words.nbytes // 16


@KINDS
def test_what_is_added_can_be_subtracted(kind):
    key = secrets.token_bytes(32)
    words = np.arange(70_000, dtype=kind).reshape(700, 100)
    shift(words, [key], [])
    assert (words != np.arange(70_000, dtype=kind).reshape(700, 100)).mean() > 0.99
    shift(words, [], [key])
    np.testing.assert_array_equal(words, np.arange(70_000, dtype=kind).reshape(700, 100))


@KINDS
def test_masked_words_look_uniform(kind):
    words = np.arange(1 << 18, dtype=kind)
    assert chi_square_of_bytes(words) < FALSE_ALARM
    shift(words, [secrets.token_bytes(32)])
    assert chi_square_of_bytes(words) > FALSE_ALARM


@KINDS
def test_the_test_of_uniform_words_has_power(kind):
    """A byte that is two in a hundred too frequent is seen."""
    words = np.zeros(1 << 18, dtype=kind)
    shift(words, [secrets.token_bytes(32)])
    raw = words.view(np.uint8)
    raw[::50] = 0
    assert chi_square_of_bytes(words) < FALSE_ALARM


def test_two_keys_have_nothing_in_common():
    first, second = np.zeros((2, 1 << 18), dtype=np.uint32)
    shift(first, [secrets.token_bytes(32)])
    shift(second, [secrets.token_bytes(32)])
    assert chi_square_of_bytes(first - second) > FALSE_ALARM
    assert chi_square_of_bytes(first ^ second) > FALSE_ALARM


def test_the_words_are_changed_where_they_are():
    words = np.zeros((3, 5), dtype=np.uint32)
    row = words[1]
    shift(row, [bytes(32)])
    assert words[1].all()
    assert not words[[0, 2]].any()


@pytest.mark.parametrize("kind", [np.int32, np.uint16, np.float32, ">u4"], ids=str)
def test_other_types_are_refused(kind):
    words = np.zeros(4, dtype=kind)
    with pytest.raises(ValueError, match="uint32 or uint64"):
        shift(words, [bytes(32)])
    with pytest.raises(ValueError, match="uint32 or uint64"):
        word_bits(words)


def test_words_that_lie_apart_are_refused():
    with pytest.raises(ValueError, match="contiguous"):
        shift(np.zeros((4, 4), dtype=np.uint32)[:, :2], [bytes(32)])


def test_bits_of_words():
    assert word_bits(np.zeros(1, np.uint32)) == 32
    assert word_bits(np.zeros(1, np.uint64)) == 64
