"""Hiding items, and ranking them: against the obvious way, user by user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from common.arrays import Floats, Ints
from common.catalogue import Catalogue
from common.interactions.table import event_table
from simulations.results.hidden_items import HiddenItems, hide_items, ranked, training_data

ITEMS = 40


@pytest.fixture(scope="module")
def hidden() -> HiddenItems:
    rng = np.random.default_rng(5)
    pairs = [(u, i) for u in range(30) for i in rng.choice(ITEMS, size=8, replace=False)]
    users, items = zip(*pairs, strict=True)
    events = event_table(users, items, np.ones(len(users)), range(len(users)))
    titles = {"title": tuple(f"title {i}" for i in range(ITEMS))}
    catalogue = Catalogue(tuple(map(str, range(ITEMS))), titles)
    return hide_items(events, catalogue, seed=0, share=0.25)


@dataclass(frozen=True)
class Fixed:
    table: Floats

    def scores(self, users: Ints) -> Floats:
        return self.table[users]


def test_hidden_items_have_no_event_in_training(hidden: HiddenItems) -> None:
    assert len(hidden.hidden) == 10
    names = {hidden.catalogue.item_ids[place] for place in hidden.hidden}
    assert not names & set(hidden.train["item_id"])
    assert not np.isin(hidden.histories.items, hidden.hidden).any()
    assert np.isin(hidden.relevant.items, hidden.hidden).all()
    assert len(hidden.histories.items) + len(hidden.relevant.items) == 30 * 8


def test_other_seeds_hide_others(hidden: HiddenItems) -> None:
    events = hidden.train
    one, other = (hide_items(events, hidden.catalogue, seed).fresh for seed in (1, 2))
    assert (one != other).any()
    np.testing.assert_array_equal(one, hide_items(events, hidden.catalogue, 1).fresh)


def test_the_federation_never_hears_of_hidden_items(hidden: HiddenItems) -> None:
    dataset = training_data(hidden, "small")
    assert len(dataset.catalogue) == ITEMS - 10
    places = hidden.catalogue.positions(dataset.catalogue.item_ids)
    np.testing.assert_array_equal(places, hidden.known)
    titles = dict(zip(dataset.catalogue.item_ids, dataset.catalogue.metadata["title"], strict=True))
    assert all(title == f"title {item}" for item, title in titles.items())
    np.testing.assert_array_equal(places[dataset.split.histories.items], hidden.histories.items)
    assert not len(dataset.split.heldout)


def test_figures_are_those_of_the_obvious_way(hidden: HiddenItems) -> None:
    scores = np.random.default_rng(1).integers(0, 15, size=(30, ITEMS)).astype(np.float64)
    found = ranked(Fixed(scores), hidden, hidden.judged, top_k=3)
    for pool in ("hidden", "all"):
        columns = [_one(scores[u], hidden, u, pool) for u in hidden.judged]
        expected = np.mean(columns, axis=0)
        names = [f"{pool}_{name}" for name in ("hr@3", "ndcg@3", "percentile")]
        assert [found[name] for name in names] == pytest.approx(list(expected))


def _one(scores: Floats, hidden: HiddenItems, user: int, pool: str) -> list[float]:
    seen = set(hidden.histories.take(np.array([user])).items.tolist())
    wanted = hidden.relevant.take(np.array([user])).items.tolist()
    pooled = hidden.hidden if pool == "hidden" else [i for i in range(ITEMS) if i not in seen]
    ordered = sorted(pooled, key=lambda i: (-scores[i], i in wanted, i))
    ranks = [ordered.index(item) + 1 for item in wanted]
    gains = sum(1 / np.log2(rank + 1) for rank in ranks if rank <= 3)
    best = sum(1 / np.log2(rank + 1) for rank in range(1, min(3, len(wanted)) + 1))
    places = [(rank - 1) / (len(ordered) - 1) for rank in ranks]
    return [float(min(ranks) <= 3), gains / best, float(np.mean(places))]


def test_a_scorer_that_knows_is_at_the_top(hidden: HiddenItems) -> None:
    table = np.zeros((30, ITEMS))
    table[hidden.relevant.user_of_event, hidden.relevant.items] = 1.0
    found = ranked(Fixed(table), hidden, hidden.judged)
    assert found["hidden_hr@10"] == found["all_ndcg@10"] == 1.0
    everything = ranked(Fixed(0 * table), hidden, hidden.judged)
    assert everything["all_hr@10"] == 0.0  # ties count against


def test_a_sample_is_of_those_who_can_be_judged(hidden: HiddenItems) -> None:
    some = hidden.sample(7, seed=3)
    assert len(np.unique(some)) == 7
    assert np.isin(some, hidden.judged).all()
    np.testing.assert_array_equal(hidden.sample(1_000, seed=3), hidden.judged)
