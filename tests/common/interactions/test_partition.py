"""Partitions: every user in one client, the same for the same seed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, DataError
from common.interactions.partition import Partition, by_column, by_hash, by_sizes, dirichlet
from common.interactions.table import event_table

_ROOT = Path(__file__).resolve().parents[3]
_CATEGORIES = {f"i{n}": f"c{n % 4}|other" for n in range(12)}


def _events(users: int, seed: int = 0) -> pd.DataFrame:
    """Users of four tastes, five events each."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), 5)
    liked = rng.random(len(user)) < 0.9
    item = np.where(liked, user % 4 + 4 * rng.integers(3, size=len(user)), rng.integers(12))
    return event_table(
        [f"u{n}" for n in user], [f"i{n}" for n in item], np.ones(len(user)), np.arange(len(user))
    )


_METHODS: dict[str, Callable[[pd.DataFrame, int, int], Partition]] = {
    "hash": lambda events, clients, seed: by_hash(events, clients),
    "dirichlet": lambda events, clients, seed: dirichlet(events, clients, 0.2, seed, _CATEGORIES),
    "clusters": lambda events, clients, seed: dirichlet(events, clients, 0.2, seed),
    "sizes": lambda events, clients, seed: by_sizes(
        events, [1] * (clients - 1) + [events["user_id"].nunique() - clients + 1], seed
    ),
    "column": lambda events, clients, seed: by_column(
        events, events["user_id"].str.len().astype("str")
    ),
}


@pytest.mark.parametrize("method", sorted(_METHODS))
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 5))
def test_covers_all_users_once(method: str, users: int, clients: int, seed: int) -> None:
    events, clients = _events(users), min(clients, users)
    made = _METHODS[method](events, clients, seed)
    dealt = [user for name in made.names for user in made.users(name)]
    assert sorted(dealt) == sorted(events["user_id"].unique())
    assert sum(made.sizes) == users
    assert min(made.sizes) >= 1
    if method != "column":
        assert len(made.names) == clients
    parts = made.split(events)
    assert sum(map(len, parts.values())) == len(events)
    for name, part in parts.items():
        assert set(part["user_id"]) == set(made.users(name))
    shuffled = events.sample(frac=1, random_state=seed).reset_index(drop=True)
    again = _METHODS[method](shuffled, clients, seed)
    assert again.user_ids == made.user_ids
    if method != "clusters":  # sums in another order may round otherwise
        assert again.client.tolist() == made.client.tolist()
    assert _METHODS[method](events, clients, seed).client.tolist() == made.client.tolist()


@pytest.mark.parametrize(("clients", "smallest"), [(8, 755), (32, 188), (100, 60)])
def test_hashed_shops_are_of_one_size(clients: int, smallest: int) -> None:
    events = event_table(map(str, range(6040)), ["a"] * 6040, [1.0] * 6040, range(6040))
    assert set(by_hash(events, clients).sizes) <= {smallest, smallest + 1}


def test_the_hash_is_not_pythons() -> None:
    code = (
        "from common.interactions.table import event_table as t;"
        "from common.interactions.partition import by_hash as h;"
        "print(h(t(map(str,range(20)),['a']*20,[1.0]*20,range(20)),3).client.tolist())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(_ROOT)},
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {"[0, 2, 1, 0, 2, 1, 2, 2, 0, 1, 0, 0, 2, 1, 2, 1, 0, 1, 1, 0]\n"}


def test_a_small_alpha_skews_and_a_large_one_does_not() -> None:
    events = _events(800)
    taste = pd.Series({f"u{n}": n % 4 for n in range(800)})

    def skew(alpha: float, categories: dict[str, str] | None) -> float:
        """Mean share of the strongest taste in a client, weighted by users."""
        total = 0
        for seed in range(5):
            made = dirichlet(events, 8, alpha, seed, categories)
            total += sum(
                taste[list(made.users(name))].value_counts().iloc[0] for name in made.names
            )
        return total / (5 * 800)

    for categories in (_CATEGORIES, None):
        assert skew(0.1, categories) > 0.6
        assert skew(1000.0, categories) < 0.4


@pytest.mark.parametrize("alpha", [1e-300, 1e-3, 1e6])
def test_the_ends_of_alpha(alpha: float) -> None:
    assert sum(dirichlet(_events(50), 7, alpha, 0).sizes) == 50


def test_regions_and_the_rest() -> None:
    users = ["a", "a", "a", "b", "b", "c", "d", "e", "e"]
    lands = pd.Series(["PT", "ES", "ES", "PT", "ES", "PT", "FR", "", None], dtype="str")
    events = event_table(users, list("xyzxyxxxy"), [1.0] * 9, range(9))
    made = by_column(events, lands, min_users=2)
    assert made.names == ("PT", "other")
    assert made.users("PT") == ("b", "c")
    assert made.users("other") == ("a", "d", "e")
    assert made.notes == {
        "users_with_several_values": 2,
        "users_without_value": 1,
        "joined_values": 3,
    }
    alone = by_column(events, lands)
    assert alone.names == ("ES", "FR", "PT", "unknown")
    assert "joined_values" in alone.notes
    with pytest.raises(DataError, match="values for"):
        by_column(events, lands[:3])


def test_sizes_are_met_exactly() -> None:
    made = by_sizes(_events(30), [20, 7, 3], seed=1, names=["big", "mid", "small"])
    assert dict(zip(made.names, made.sizes, strict=True)) == {"big": 20, "mid": 7, "small": 3}
    assert made.client.tolist() != by_sizes(_events(30), [20, 7, 3], seed=2).client.tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda events: by_hash(events, 0),
        lambda events: by_hash(events, 11),
        lambda events: by_hash(events.iloc[:0], 1),
        lambda events: dirichlet(events, 11, 1.0, 0),
        lambda events: dirichlet(events, 2, 0.0, 0),
        lambda events: dirichlet(events, 2, float("nan"), 0),
        lambda events: dirichlet(events, 2, 1e308, 0),
        lambda events: by_sizes(events, [5, 6], 0),
        lambda events: by_sizes(events, [10, 0], 0),
        lambda events: by_sizes(events, [], 0),
        lambda events: by_sizes(events, [5, 5], 0, names=["a", "a"]),
        lambda events: by_hash(events.iloc[:5], 1).split(events),
        lambda events: Partition(("a", "b"), ("u",), np.zeros(1, dtype=np.int64)),
        lambda events: Partition(("a",), ("u", "u"), np.zeros(2, dtype=np.int64)),
        lambda events: Partition(("a",), ("u",), np.ones(1, dtype=np.int64)),
    ],
)
def test_what_cannot_be_dealt_out(make: Callable[[pd.DataFrame], object]) -> None:
    with pytest.raises(DataError) as caught:
        make(_events(10))
    assert caught.value.code is Code.DATA_PARTITION
