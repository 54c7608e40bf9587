"""Contexts against a loop over users and events, and what nobody may move."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Floats, Histories
from common.models.recency import contexts_after, contexts_before

ITEMS, DIM, LENGTH = 9, 4, 3
DECAYS = (0.8, 0.5)
VECTORS = np.random.default_rng(0).normal(size=(ITEMS, DIM))
users = st.lists(st.permutations(range(ITEMS)).map(lambda p: p[: 1 + p[0]]), min_size=1, max_size=5)


def made(sequences: list[list[int]]) -> Histories:
    """Histories of items in time order, some users with none."""
    items, order, indptr = [], [], [0]
    for sequence in sequences:
        stored = sorted(sequence)
        items += stored
        order += [sequence.index(item) for item in stored]
        indptr.append(len(items))
    values = (np.array(part, np.int64) for part in (indptr, items, order))
    bounds, flat, places = values
    return Histories(bounds, flat, np.ones(len(flat)), ITEMS, places)


def context_of(before: list[int]) -> Floats:
    """What came before, by the definition."""
    parts = []
    for decay in DECAYS:
        total = np.zeros(DIM)
        for back, item in enumerate(reversed(before[-LENGTH:])):
            total += decay**back * VECTORS[item]
        norm = np.linalg.norm(total)
        parts.append((total / norm if norm > 0 else total) / np.sqrt(len(DECAYS)))
    return np.concatenate(parts)


@given(sequences=users)
def test_contexts_are_what_the_definition_says(sequences: list[list[int]]) -> None:
    histories = made([*sequences, []])
    before = contexts_before(histories, VECTORS, DECAYS, LENGTH)
    for user, sequence in enumerate(sequences):
        start = histories.indptr[user]
        for event, item in enumerate(sorted(sequence)):
            expected = context_of(sequence[: sequence.index(item)])
            np.testing.assert_allclose(before[start + event], expected, atol=1e-12)
    after = contexts_after(histories, VECTORS, DECAYS, LENGTH)
    expected = np.array([context_of(sequence) for sequence in [*sequences, []]])
    np.testing.assert_allclose(after, expected, atol=1e-12)


@given(sequences=users)
def test_a_context_has_norm_one_or_none_and_is_its_users_own(sequences: list[list[int]]) -> None:
    together = contexts_before(made(sequences), VECTORS, DECAYS, LENGTH)
    norms = np.linalg.norm(together, axis=1)
    assert np.all((np.abs(norms - 1) < 1e-9) | (norms == 0))
    histories = made(sequences)
    for user, sequence in enumerate(sequences):
        alone = contexts_before(made([sequence]), VECTORS, DECAYS, LENGTH)
        mine = together[histories.indptr[user] : histories.indptr[user + 1]]
        assert alone.tobytes() == mine.tobytes()
