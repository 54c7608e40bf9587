"""Tastes: what most of a user's weight is in, more than in everybody's."""

from __future__ import annotations

import numpy as np

from common.interactions.table import event_table
from common.interactions.tastes import tastes_of_users


def test_by_category_relative_to_all() -> None:
    events = event_table(
        ["u", "u", "u", "v", "v", "w"],
        ["pop", "pop", "jazz", "pop", "rock", "pop"],
        [1.0] * 6,
        range(6),
    )
    categories = {"pop": "Pop", "jazz": "Jazz|Pop", "rock": "Rock"}
    tastes = tastes_of_users(events, ("u", "v", "w"), categories, np.random.default_rng(0))
    assert len(set(tastes.tolist())) == 3


def test_clusters_find_users_with_like_items() -> None:
    rng = np.random.default_rng(3)
    user = np.repeat(np.arange(90), 8)
    item = user % 3 * 10 + rng.integers(10, size=len(user))
    events = event_table(
        [f"{n:02d}" for n in user], map(str, item), np.ones(len(user)), range(len(user))
    )
    names = tuple(f"{n:02d}" for n in range(90))
    tastes = tastes_of_users(events, names, None, np.random.default_rng(0))
    groups = np.arange(90) % 3
    for taste in np.unique(tastes):
        assert len(set(groups[tastes == taste].tolist())) == 1


def test_one_user_or_one_item_have_one_taste() -> None:
    rng = np.random.default_rng(0)
    one = event_table(["u", "u"], ["a", "b"], [1.0] * 2, range(2))
    assert tastes_of_users(one, ("u",), None, rng).tolist() == [0]
    same = event_table(["u", "v"], ["a", "a"], [1.0] * 2, range(2))
    assert tastes_of_users(same, ("u", "v"), {"a": "x"}, rng).tolist() == [0, 0]
