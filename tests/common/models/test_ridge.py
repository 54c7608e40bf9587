"""Many ridge problems at once against each one written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Floats, Histories, Ints
from common.models import ridge
from common.models.ridge import Spectrum, solve_rows, transpose


def make_histories(rng: np.random.Generator, rows: int, columns: int) -> Histories:
    dense = rng.random((rows, columns)) < rng.random((rows, 1))
    row, column = np.nonzero(dense)
    counts = np.bincount(row, minlength=rows)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Histories(indptr, column, rng.uniform(0.5, 2.0, len(column)), columns)


def written_out(
    histories: Histories, vectors: Floats, strength: Floats, alpha: float, prior: Floats
) -> Floats:
    dim = vectors.shape[1]
    result = np.zeros((histories.n_users, dim))
    for row in range(histories.n_users):
        own = slice(histories.indptr[row], histories.indptr[row + 1])
        mine, weights = vectors[histories.items[own]], histories.weights[own]
        system = alpha * vectors.T @ vectors + strength[row] * np.eye(dim)
        system += mine.T @ np.diag(weights) @ mine
        result[row] = np.linalg.solve(system, weights @ mine + strength[row] * prior[row])
    return result


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), dim=st.sampled_from([1, 4, 9]), with_prior=st.booleans())
def test_agrees_with_the_normal_equations(seed: int, dim: int, with_prior: bool) -> None:
    rng = np.random.default_rng(seed)
    histories = make_histories(rng, 7, 10)
    vectors = rng.normal(size=(10, dim))
    strength = rng.uniform(0.1, 3.0, 7)
    prior = rng.normal(size=(7, dim)) if with_prior else np.zeros((7, dim))
    got = solve_rows(histories, vectors, strength, 0.3, prior if with_prior else None)
    np.testing.assert_allclose(
        got, written_out(histories, vectors, strength, 0.3, prior), rtol=1e-8, atol=1e-10
    )


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    histories = make_histories(rng, 40, 12)
    vectors = rng.normal(size=(12, 5))
    whole = solve_rows(histories, vectors, np.ones(40), 0.1)
    monkeypatch.setattr(ridge, "_BLOCK_VALUES", 1)
    np.testing.assert_allclose(
        solve_rows(histories, vectors, np.ones(40), 0.1), whole, rtol=1e-10, atol=1e-13
    )


def test_rows_without_events_get_the_shrunk_prior() -> None:
    empty = Histories(np.zeros(3, np.int64), np.array([], np.int64), np.array([]), 4)
    vectors = np.eye(4)[:, :2]
    prior = np.array([[1.0, 2.0], [3.0, 4.0]])
    got = solve_rows(empty, vectors, np.array([1.0, 3.0]), 1.0, prior)
    np.testing.assert_allclose(got, [[0.5, 1.0], [2.25, 3.0]])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_transpose_is_an_involution(seed: int) -> None:
    histories = make_histories(np.random.default_rng(seed), 6, 9)
    once = transpose(histories)
    again = transpose(once)
    assert (once.n_users, once.n_items) == (9, 6)
    assert all(
        (np.diff(once.items[a:b]) > 0).all()
        for a, b in zip(once.indptr, once.indptr[1:], strict=False)
    )
    for name in ("indptr", "items", "weights"):
        np.testing.assert_array_equal(getattr(again, name), getattr(histories, name))


@pytest.mark.parametrize("dim", [2, 30])
def test_a_singular_row_is_zero_and_no_other_row_notices(dim: int) -> None:
    """In the space of the vectors (dim 2) and in that of the events (dim 30)."""
    histories = make_histories(np.random.default_rng(3), 20, 12)
    vectors = np.zeros((12, dim))
    vectors[:, 0] = 1.0
    good = np.ones(20)
    bad = np.where(np.arange(20) % 3 == 0, 0.0, 1.0)
    got, expected = (solve_rows(histories, vectors, ridge, 0.0) for ridge in (bad, good))
    assert np.array_equal(got[bad == 1], expected[bad == 1])
    assert not got[(bad == 0) & (histories.lengths > 0)].any()


@pytest.mark.parametrize("size", [1e-25, 1.0, 1e6, 1e200])
@pytest.mark.parametrize("strength", [0.0, 1e-300, 1e-6])
def test_identical_vectors_never_make_it_raise(size: float, strength: float) -> None:
    histories = make_histories(np.random.default_rng(4), 30, 12)
    vectors = size * np.tile(np.random.default_rng(0).normal(size=5), (12, 1))
    for alpha in (0.0, 0.3):
        assert np.isfinite(solve_rows(histories, vectors, np.full(30, strength), alpha)).all()


@pytest.mark.parametrize("bad", [1e308, np.inf, np.nan])
def test_a_row_whose_numbers_overflow_is_zero_alone(bad: float) -> None:
    histories = make_histories(np.random.default_rng(5), 20, 12)
    vectors = np.random.default_rng(6).normal(size=(12, 4))
    expected = solve_rows(histories, vectors, np.ones(20), 0.3)
    row = int(np.argmax(histories.lengths))
    histories.weights[histories.indptr[row] : histories.indptr[row + 1]] = bad
    got = solve_rows(histories, vectors, np.ones(20), 0.3)
    assert np.isfinite(got).all()
    rest = np.arange(20) != row
    assert np.array_equal(got[rest], expected[rest])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_vectors_that_are_no_numbers_make_every_row_zero(bad: float) -> None:
    histories = make_histories(np.random.default_rng(7), 5, 6)
    vectors = np.full((6, 3), bad)
    assert not solve_rows(histories, vectors, np.ones(5), 0.3).any()


def test_no_rows_at_all() -> None:
    nobody = Histories(np.zeros(1, np.int64), np.array([], np.int64), np.array([]), 4)
    assert solve_rows(nobody, np.eye(4), np.array([]), 0.3).shape == (0, 4)


def test_a_spectrum_at_hand_gives_the_same_bits() -> None:
    histories = make_histories(np.random.default_rng(8), 9, 12)
    vectors = np.random.default_rng(9).normal(size=(12, 4))
    fresh = solve_rows(histories, vectors, np.ones(9), 0.3)
    again = solve_rows(histories, vectors, np.ones(9), 0.3, spectrum=Spectrum.of(vectors))
    assert np.array_equal(fresh, again)


@pytest.mark.parametrize("dim", [1, 2, 5, 9, 24, 33])
@pytest.mark.parametrize("with_prior", [False, True])
def test_a_row_is_the_same_to_the_last_bit_alone_and_among_others(
    dim: int, with_prior: bool
) -> None:
    """Of all lengths, fewer events than dimensions and more, in any block and any order."""
    rng = np.random.default_rng(dim)
    histories = make_histories(rng, 60, 90)
    vectors, ridge_of = rng.normal(size=(90, dim)), rng.uniform(0.1, 3.0, 60)
    prior = rng.normal(size=(60, dim)) if with_prior else None
    spectrum = Spectrum.of(vectors)

    def solved(rows: Ints) -> Floats:
        beside = None if prior is None else prior[rows]
        return solve_rows(
            histories.take(rows), vectors, ridge_of[rows], 0.3, beside, spectrum=spectrum
        )

    together = solved(np.arange(60))
    for row in range(60):
        assert solved(np.array([row])).tobytes() == together[row : row + 1].tobytes()
    shuffled = rng.permutation(60)
    assert solved(shuffled).tobytes() == together[shuffled].tobytes()
    assert solved(np.arange(1, 60)).tobytes() == together[1:].tobytes()


def test_sizes_hold_their_rows_and_are_few() -> None:
    lengths = np.arange(100_000)
    sizes = ridge._sizes(lengths)
    assert np.all((sizes >= lengths) & (sizes <= np.maximum(1.25 * lengths, lengths)))
    assert len(np.unique(sizes)) < 70
    assert np.all(np.diff(sizes) >= 0)
