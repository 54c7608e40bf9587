import copy
import os
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy import stream
from common.privacy.stream import KEY_BYTES, NoiseSource, generator_from_key


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_stream_is_chacha20_of_all_256_bits(key):
    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()
    expected = np.frombuffer(cipher.update(bytes(4096)), "<u8")
    ours = generator_from_key(key).bit_generator.random_raw(512)
    assert np.array_equal(ours, expected)


def test_every_key_bit_counts():
    streams = {
        tuple(generator_from_key((1 << bit).to_bytes(32, "little")).bit_generator.random_raw(2))
        for bit in range(256)
    }
    assert len(streams) == 256


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_other_key_lengths_are_refused(length):
    with pytest.raises(ValueError, match="32 bytes"):
        generator_from_key(bytes(length))


def test_system_source_asks_the_operating_system_for_each_key(monkeypatch):
    asked = []

    def token_bytes(count):
        asked.append(count)
        return os.urandom(count)

    monkeypatch.setattr(stream.secrets, "token_bytes", token_bytes)
    source = NoiseSource.system()
    child = source.spawn()
    assert asked == [KEY_BYTES, KEY_BYTES]
    assert not source.reproducible
    assert child.is_private
    assert not np.array_equal(source.words(4), child.words(4))


def test_seeded_source_repeats_and_says_so():
    one, two = NoiseSource.seeded(7), NoiseSource.seeded(7)
    assert one.reproducible
    assert not one.is_private
    assert np.array_equal(one.words(8), two.words(8))
    assert np.array_equal(one.spawn().words(8), two.spawn().words(8))
    assert one.spawn().reproducible
    assert not np.array_equal(one.spawn().words(8), one.spawn().words(8))
    assert not np.array_equal(NoiseSource.seeded(8).words(8), NoiseSource.seeded(7).words(8))


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_stream_is_never_duplicated(duplicate):
    with pytest.raises(TypeError, match="never copied"):
        duplicate(NoiseSource.system())


def test_a_forked_process_draws_other_noise():
    source = NoiseSource.system()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, source.words(4).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 32) != source.words(4).tobytes()
    os.close(reader)
    os.close(writer)


def test_words_and_bits_are_uniform():
    source = NoiseSource.seeded(1)
    ones = np.unpackbits(source.words(1 << 14).view(np.uint8)).mean()
    assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(1 << 20)
    assert len(source.half_words(7)) == 7
    draws = np.bincount([source.below(5) for _ in range(5000)], minlength=5)
    assert len(draws) == 5
    assert np.all(np.abs(draws - 1000) < 150)
    assert source.below(1) == 0


def test_poisson_sample_takes_each_user_with_the_rate():
    source = NoiseSource.seeded(2)
    counts = np.zeros(50)
    sizes = []
    for _ in range(4000):
        users = source.poisson_sample(50, 0.2)
        assert np.all(np.diff(users) > 0)
        counts[users] += 1
        sizes.append(len(users))
    assert np.all(np.abs(counts / 4000 - 0.2) < 5 * np.sqrt(0.16 / 4000))
    assert np.var(sizes) == pytest.approx(50 * 0.16, rel=0.15)  # binomial, not a fixed size


def test_poisson_sample_at_the_ends():
    source = NoiseSource.seeded(3)
    assert np.array_equal(source.poisson_sample(4, 1.0), np.arange(4))
    assert len(source.poisson_sample(1000, 1e-300)) == 0
    assert len(source.poisson_sample(0, 0.5)) == 0
