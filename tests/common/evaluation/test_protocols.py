from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, ConfigError, DataError
from common.evaluation import protocols
from common.evaluation.protocols import Split
from common.interactions.raw import PublishedSplit

ITEMS = pd.Index([f"i{n:02d}" for n in range(12)])


def table(rows: list[tuple[str, int, int]]) -> pd.DataFrame:
    """Events (user, item, seconds)."""
    return pd.DataFrame(
        {
            "user_id": [u for u, _, _ in rows],
            "item_id": [ITEMS[i] for _, i, _ in rows],
            "weight": np.ones(len(rows)),
            "datetime": pd.to_datetime([t for _, _, t in rows], unit="s", utc=True),
        }
    )


events = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 11), st.integers(0, 9)),
    min_size=1,
    max_size=40,
)


def relevant(split: Split) -> dict[str, set[str]]:
    rows = zip(split.relevant.user_of_event, split.relevant.items, strict=True)
    result: dict[str, set[str]] = {user: set() for user in split.users}
    for user, item in rows:
        result[split.users[user]].add(split.items[item])
    return result


def training(split: Split) -> dict[str, set[str]]:
    rows = zip(split.histories.user_of_event, split.histories.items, strict=True)
    result: dict[str, set[str]] = {user: set() for user in split.users}
    for user, item in rows:
        result[split.users[user]].add(split.items[item])
    return result


def invariants(split: Split, source: pd.DataFrame) -> None:
    known, held = training(split), relevant(split)
    for user in split.users:
        assert not known[user] & held[user]
        assert known[user]
        assert known[user] == set(split.train.loc[split.train["user_id"] == user, "item_id"])
    for part in (split.histories, split.relevant):
        for u in range(part.n_users):
            assert (np.diff(part.items[part.indptr[u] : part.indptr[u + 1]]) > 0).all()
    assert split.left_out.no_heldout == sum(not items for items in held.values())
    assert split.left_out.no_train == source["user_id"].nunique() - len(split.users)
    first = split.heldout.drop_duplicates("user_id").set_index("user_id")["item_id"]
    for user, item in zip(split.users, split.heldout_item, strict=True):
        assert (item == -1) if user not in first.index else (split.items[item] == first[user])


def attempt(make: Any) -> Split | None:
    try:
        return make()
    except DataError as error:
        if error.code != Code.DATA_EMPTY:
            raise
        return None


@settings(max_examples=100, deadline=None)
@given(events)
def test_leave_one_out_holds_out_the_item_met_last(rows: list[tuple[str, int, int]]) -> None:
    source = table(rows)
    split = attempt(lambda: protocols.leave_one_out(source, ITEMS))
    distinct = source.groupby("user_id")["item_id"].nunique()
    if split is None:
        assert (distinct == 1).all()
        return
    invariants(split, source)
    assert list(split.users) == sorted(set(source["user_id"]))
    for user, held in relevant(split).items():
        assert len(held) == (distinct[user] > 1)
        met = source[source["user_id"] == user].groupby("item_id")["datetime"].min()
        if held:
            assert met[held.pop()] == met.max()


@settings(max_examples=50, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_ties_do_not_depend_on_rows_or_other_users(
    rows: list[tuple[str, int, int]], shuffle: Any
) -> None:
    split = attempt(lambda: protocols.leave_one_out(table(rows), ITEMS))
    if split is None:
        return
    shuffle.shuffle(rows)
    for user, held in relevant(split).items():
        if held:
            alone = protocols.leave_one_out(table([r for r in rows if r[0] == user]), ITEMS)
            assert relevant(alone) == {user: held}


def test_equal_times_are_not_ordered_by_item() -> None:
    """Else a basket would always lose the item that comes last in the catalogue."""
    rows = [(f"u{u}", i, 0) for u in range(300) for i in range(12)]
    split = protocols.leave_one_out(table(rows), ITEMS)
    counts = np.bincount(split.heldout_item, minlength=12)
    assert counts.min() > 8
    assert counts.max() < 50


def test_the_hash_that_orders_ties_is_the_same_for_ever() -> None:
    rows = [(user, item, 0) for user in "abcdef" for item in range(12)]
    for dtype in ("str", "object", "category"):
        source = table(rows).astype({"user_id": dtype})
        split = protocols.leave_one_out(source, ITEMS.astype(dtype))
        assert split.heldout_item.tolist() == FROZEN_TIES


def test_columns_of_the_table_survive() -> None:
    source = table([("a", 0, 0), ("a", 1, 1)]).assign(Country="FR")
    split = protocols.leave_one_out(source, ITEMS)
    assert split.train["Country"].tolist() == split.heldout["Country"].tolist() == ["FR"]


@settings(max_examples=60, deadline=None)
@given(events, st.integers(0, 1000), st.integers(1, 12))
def test_ncf_negatives_are_neither_known_nor_held_out(
    rows: list[tuple[str, int, int]], seed: int, n: int
) -> None:
    split = attempt(lambda: protocols.ncf(table(rows), ITEMS, np.random.default_rng(seed), n))
    if split is None:
        return
    invariants(split, table(rows))
    known, held = training(split), relevant(split)
    assert split.negatives is not None
    for user, row in zip(split.users, split.negatives, strict=True):
        drawn = [split.items[i] for i in row if i >= 0]
        free = len(ITEMS) - len(known[user] | held[user])
        assert len(drawn) == len(set(drawn)) == (min(n, free) if held[user] else 0)
        assert not set(drawn) & (known[user] | held[user])


@settings(max_examples=100, deadline=None)
@given(events, st.integers(0, 10))
def test_temporal_training_knows_nothing_of_the_future(
    rows: list[tuple[str, int, int]], at: int
) -> None:
    source, cut = table(rows), pd.Timestamp(at, unit="s", tz="UTC")
    split = attempt(lambda: protocols.temporal(source, ITEMS, at=cut))
    past, future = source[source["datetime"] < cut], source[source["datetime"] >= cut]
    if split is None:
        pairs = [set(zip(part["user_id"], part["item_id"], strict=True)) for part in (past, future)]
        assert not {u for u, _ in pairs[1] - pairs[0]} & set(past["user_id"])
        return
    invariants(split, source)
    assert (split.train["datetime"] < cut).all()
    assert len(split.train) == len(past)
    for user, held in relevant(split).items():
        later = set(future.loc[future["user_id"] == user, "item_id"])
        assert held == later - set(past.loc[past["user_id"] == user, "item_id"])


def test_temporal_cuts_at_a_quantile_and_keeps_equal_times_together() -> None:
    rows = [("a", n, n // 4) for n in range(12)]
    split = protocols.temporal(table(rows), ITEMS, quantile=0.5)
    assert len(split.train) == 4
    assert split.train_share == pytest.approx(1 / 3)
    assert split.relevant.lengths.tolist() == [8]


@pytest.mark.parametrize("quantile", [0.0, 1.0, -1.0])
def test_a_quantile_outside_is_refused(quantile: float) -> None:
    with pytest.raises(ConfigError) as error:
        protocols.temporal(table([("a", 0, 0)]), ITEMS, quantile=quantile)
    assert error.value.code == Code.CONFIG_INVALID


def test_temporal_needs_times() -> None:
    source = table([("a", 0, 0), ("a", 1, 1)])
    source["datetime"] = source["datetime"].where([True, False])
    with pytest.raises(DataError) as error:
        protocols.temporal(source, ITEMS)
    assert error.value.code == Code.DATA_FORMAT


def test_unknown_items_and_empty_tables_are_named() -> None:
    with pytest.raises(DataError) as error:
        protocols.leave_one_out(table([("a", 0, 0)]), ITEMS[1:])
    assert error.value.code == Code.CATALOGUE_MISMATCH
    assert "row 0" in str(error.value)
    with pytest.raises(DataError) as error:
        protocols.leave_one_out(table([]), ITEMS)
    assert error.value.code == Code.DATA_EMPTY


PUBLISHED_TRAIN = [("a", 0, 0), ("a", 1, 1), ("b", 2, 0)]
PUBLISHED_HELD = [("b", 3, 5), ("a", 4, 5)]


def test_published_negatives_follow_their_user() -> None:
    negatives = ITEMS.to_numpy()[np.array([[5, 3], [6, 6]])]
    split = protocols.published(table(PUBLISHED_TRAIN), table(PUBLISHED_HELD), negatives, ITEMS)
    assert split.protocol == "ncf"
    assert list(split.users) == ["a", "b"]
    assert split.heldout_item.tolist() == [4, 3]
    assert split.negatives is not None
    assert split.negatives.tolist() == [[6, 6], [5, 3]]


def test_what_the_reader_hands_over_is_a_published_split() -> None:
    raw = PublishedSplit(
        ("b", "a"),
        (ITEMS[3], ITEMS[4]),
        np.ones(2),
        np.array([[ITEMS[5], ITEMS[3]], [ITEMS[6], ITEMS[6]]], dtype=object),
        1,
    )
    split = protocols.from_published(table(PUBLISHED_TRAIN), raw, ITEMS)
    assert split.heldout_item.tolist() == [4, 3]
    assert split.negatives is not None
    assert split.negatives.tolist() == [[6, 6], [5, 3]]
    assert split.train["datetime"].dtype == split.heldout["datetime"].dtype


def test_a_broken_published_split_is_refused() -> None:
    train, held = table(PUBLISHED_TRAIN), table(PUBLISHED_HELD)
    fine = np.full((2, 1), ITEMS[9])
    with pytest.raises(DataError, match="training events"):
        protocols.published(table([*PUBLISHED_TRAIN, ("b", 3, 0)]), held, fine, ITEMS)
    with pytest.raises(DataError, match="one row of negatives"):
        protocols.published(train, held, fine[:1], ITEMS)
    with pytest.raises(DataError, match="one held-out event"):
        protocols.published(train, table([PUBLISHED_HELD[0]] * 2), fine, ITEMS)
    with pytest.raises(DataError, match="negative is not"):
        protocols.published(train, held, np.full((2, 1), "?"), ITEMS)


@settings(max_examples=60, deadline=None)
@given(events, st.sampled_from(["full", "ncf", "temporal"]))
def test_validation_reads_training_alone(rows: list[tuple[str, int, int]], protocol: str) -> None:
    source, rng = table(rows), np.random.default_rng(0)
    make = {
        "full": lambda: protocols.leave_one_out(source, ITEMS),
        "ncf": lambda: protocols.ncf(source, ITEMS, rng, 3),
        "temporal": lambda: protocols.temporal(source, ITEMS, quantile=0.7),
    }[protocol]
    split = attempt(make)
    inner = split and attempt(lambda: protocols.validation_split(split, rng, 3))
    if split is None or inner is None:
        return
    assert inner.protocol == split.protocol
    invariants(inner, split.train)
    outer, known = training(split), training(inner)
    for user, held in relevant(inner).items():
        assert held | known[user] <= outer[user]
        if protocol != "temporal":
            assert held | known[user] == outer[user]


def test_negatives_of_validation_may_be_the_test_item() -> None:
    """With one item left outside, the only possible negative is the one held out for test."""
    rows = [("a", i, i) for i in range(12)]
    split = protocols.ncf(table(rows), ITEMS, np.random.default_rng(0), 99)
    inner = protocols.validation_split(split, np.random.default_rng(0))
    assert inner.negatives is not None
    assert inner.heldout_item.tolist() == [10]
    assert inner.negatives[0, :2].tolist() == [11, -1]


FROZEN_TIES = [1, 0, 10, 9, 6, 5]
