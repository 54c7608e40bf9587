"""Tests of uniformity: they pass what is uniform, and see what is not."""

from __future__ import annotations

import numpy as np
import pytest

from server.uniform import closest_pair, looks_of, sample_of

WORDS = [np.uint32, np.uint64]


def uniform(seed: int, size: int, kind: type = np.uint32) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 2 ** (8 * np.dtype(kind).itemsize), size, dtype=kind)


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("size", [3, 60, 4000])
def test_uniform_words_pass_at_the_stated_rate(kind: type, size: int) -> None:
    found = [looks_of(uniform(seed, size, kind)) for seed in range(400)]
    low = sum(looks.p < 0.05 for looks in found)
    assert 6 <= low <= 36  # Binomial(400, 0.05) within 3.3 σ
    spread = 5 * np.sqrt(1 / 12 / (400 * size))
    assert np.mean([looks.mean for looks in found]) == pytest.approx(0.5, abs=spread)
    assert max(looks.largest for looks in found) > 0.99
    if size > 3:
        assert min(looks.largest for looks in found) > 0.8


@pytest.mark.parametrize("kind", WORDS)
def test_small_words_and_their_negatives_do_not_pass(kind: type) -> None:
    """What is quantised and noised, but not masked."""
    noise = np.random.default_rng(0).normal(0, 1e5, 60).astype(np.int64).astype(kind)
    assert looks_of(noise).p < 1e-6


def test_a_few_words_are_no_cause_for_alarm() -> None:
    """χ² has its law where enough is expected: 3 words are judged by their bits."""
    found = [looks_of(uniform(seed, 3)).p for seed in range(20_000)]
    assert min(found) > 1e-6
    assert looks_of(np.zeros(3, np.uint32)).p < 1e-12


def test_words_with_a_bit_that_is_never_set_do_not_pass() -> None:
    assert looks_of(uniform(1, 4000) & np.uint32(0xFFFFFF7F)).p < 1e-12


def test_the_closest_of_independent_words_is_within_chance() -> None:
    low = 0
    for seed in range(200):
        samples = [(str(k), sample_of(uniform(seed * 10 + k, 500), 6)) for k in range(6)]
        pair = closest_pair(samples)
        assert pair is not None
        assert (pair.pairs, pair.words) == (15, 500)
        low += pair.p < 0.05
    assert low <= 20  # 10 expected, 3.3 σ


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_words_of_two_clients_that_go_together_are_found(share: float) -> None:
    words = [uniform(k, 3000) for k in range(5)]
    words[3] = np.where(np.arange(3000) < 3000 * share, words[1], words[3])
    pair = closest_pair([(f"shop-{k}", sample_of(w, 5)) for k, w in enumerate(words)])
    assert pair is not None
    assert pair.clients == ("shop-1", "shop-3")
    assert pair.correlation == pytest.approx(share, abs=0.05)
    assert pair.p < 1e-9


def test_opposite_words_are_found_too() -> None:
    one = uniform(3, 3000)
    pair = closest_pair([("a", sample_of(one, 2)), ("b", sample_of(~one, 2))])
    assert pair is not None
    assert pair.correlation == pytest.approx(-1)


def test_one_client_or_one_word_has_no_pair() -> None:
    assert closest_pair([("a", sample_of(uniform(0, 9), 1))]) is None
    assert closest_pair([(n, sample_of(uniform(0, 1), 2)) for n in "ab"]) is None


def test_constant_words_are_not_related_to_anything() -> None:
    samples = [("a", sample_of(np.zeros(50, np.uint32), 2)), ("b", sample_of(uniform(1, 50), 2))]
    pair = closest_pair(samples)
    assert pair is not None
    assert pair.correlation == 0
