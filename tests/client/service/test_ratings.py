"""The service with a model that predicts ratings: a shopper's own, and events without any.

What is recorded with a rating is in `test_recorded_ratings`.
"""

import numpy as np
import pandas as pd
import pytest

from client.service.v1 import recommender_pb2 as pb
from common.arrays import Histories
from common.models.neural import Neural, NeuralModelSettings
from common.models.shared_arrays import DENSE, POPULARITY_ARRAY, TABLE
from tests.client.service.shop import ITEMS, deliver, ids, likes, make_shop, policy, serving

MEAN, SCALE = 3.0, 1.5


def a_model(loss="explicit", spread=1.0):
    settings = NeuralModelSettings(loss=loss, embedding_dim=6, rating_mean=MEAN, rating_scale=SCALE)
    rng = np.random.default_rng(0)
    arrays = {
        TABLE: spread * rng.normal(size=(ITEMS, 6)),
        DENSE: rng.normal(0, 0.3, (settings.packing.rows, 6)),
        POPULARITY_ARRAY: rng.uniform(1, 9, ITEMS),
    }
    return Neural.from_arrays(arrays, settings)


MODEL = a_model()


def rate(folder, **ratings):
    """Give the shopper's events of the log these ratings, in the order of their items."""
    path = folder / "events.parquet"
    events = pd.read_parquet(path)
    for user, given in ratings.items():
        events.loc[events["user_id"] == user, "weight"] = given
    part = folder / "part.parquet"
    events.to_parquet(part, index=False)
    part.replace(path)


@pytest.fixture
def folder(tmp_path):
    folder = make_shop(tmp_path / "north")
    rate(folder, u3=[5.0, 1.0, 4.0, 2.5], u4=[1.0, 1.0, 5.0, np.nan])
    deliver(folder, model=MODEL)
    return folder


def scores_of(rated, model=MODEL):
    """By the model, ratings by item."""
    items = np.array(sorted(rated), dtype=np.int64)
    weights = np.array([rated[item] for item in items], dtype=np.float64)
    history = Histories(np.array([0, len(items)]), items, weights, ITEMS)
    return model.scores(model.fold_in(history))[0]


def best(rated, k=10, model=MODEL):
    order = np.argsort(-scores_of(rated, model), kind="stable")
    return [f"i{item}" for item in order if item not in rated][:k]


def test_the_best_rated_come_first_by_ones_own_ratings(folder):
    mine = dict(zip(likes(3), (5.0, 1.0, 4.0, 2.5), strict=True))
    with serving(folder) as (_, caller):
        reply = caller.recommend("u3")
        assert ids(reply.items) == best(mine)
        assert reply.basis.method == pb.SHOPPER
        scores = scores_of(mine)[[int(name[1:]) for name in ids(reply.items)]]
        assert (np.abs(scores) < 4).all()
        shown = [item.score for item in reply.items]
        np.testing.assert_allclose(shown, MEAN + SCALE * scores, rtol=1e-5)
        assert reply.basis.scores_are_ratings
        turned = {item: 6 - rating for item, rating in mine.items()}
        assert ids(reply.items) != best(turned)
        rate(folder, u3=list(turned.values()))
        assert ids(caller.recommend("u3").items) == best(turned)


def test_an_event_without_a_rating_counts_as_rated_at_the_declared_mean(folder):
    mine = dict(zip(likes(3), (5.0, 1.0, 4.0, 2.5), strict=True))
    first = likes(3)[0]
    with serving(folder) as (_, caller):
        caller.record(("new", "u3", "i0"), ("again", "u3", f"i{first}"), ("one", "guest", "i8"))
        assert ids(caller.recommend("u3").items) == best({**mine, 0: MEAN})  # what was rated stays
        shown = caller.recommend("u3", context_item_ids=["i10"])
        assert ids(shown.items) == best({**mine, 0: MEAN, 10: MEAN})
        assert ids(caller.recommend("guest").items) == best({8: MEAN})
        log = dict(zip(likes(4), (1.0, 1.0, 5.0, MEAN), strict=True))
        assert ids(caller.recommend("u4").items) == best(log)


def test_nobody_elses_ratings_and_no_ratings_of_a_set_count(folder):
    def answers(caller):
        bundle = pb.BundleRequest(item_ids=["i8", "i2"], size=2)
        explained = pb.ExplainRequest(user_id="u3", item_id="i11")
        return caller.recommend("u3"), caller.Bundle(bundle), caller.Explain(explained)

    with serving(folder) as (_, caller):
        before = answers(caller)
        assert before[2].attribution == pb.LEFT_OUT
        assert len({part.amount for part in before[2].contributions}) == 4
        rate(folder, u4=[5.0, 5.0, 1.0, 1.0], u5=1.5)
        assert answers(caller) == before


@pytest.mark.parametrize("model", [None, a_model("implicit")], ids=["mf", "implicit"])
def test_of_other_models_answers_do_not_depend_on_ratings(folder, model):
    deliver(folder, 2, model)
    with serving(folder) as (_, caller):
        before = caller.recommend("u3")
        rate(folder, u3=[1.0, 5.0, np.nan, 2.0])
        assert caller.recommend("u3") == before
        asked = pb.ExplainRequest(user_id="u3", item_id="i11")
        assert all(np.isfinite(part.amount) for part in caller.Explain(asked).contributions)


def test_a_shop_of_its_own_model_is_chosen_with_ratings_and_answers(folder):
    (folder / "policy.toml").write_text(policy("shop"))
    with serving(folder) as (service, caller):
        assert service.desk.models.wait_tuned(60)
        reply = caller.recommend("u3")
        assert (reply.basis.serving, reply.basis.held_back) == (pb.SHOP, "")
        assert len(reply.items) == 10


def test_a_rating_is_shown_as_far_as_one_counts_and_sorted_beyond(folder):
    wild = a_model(spread=8.0)
    deliver(folder, 2, wild)
    mine = dict(zip(likes(3), (5.0, 1.0, 4.0, 2.5), strict=True))
    with serving(folder) as (_, caller):
        reply = caller.recommend("u3", top_k=ITEMS)
        assert ids(reply.items) == best(mine, ITEMS, wild)
        scores = scores_of(mine, wild)[[int(name[1:]) for name in ids(reply.items)]]
        assert ((scores > 4).sum() > 2, (scores < -4).sum() > 2) == (True, True)
        shown = [item.score for item in reply.items]
        np.testing.assert_allclose(shown, MEAN + SCALE * scores.clip(-4, 4), rtol=1e-6)
        assert (max(shown), min(shown)) == (MEAN + 4 * SCALE, MEAN - 4 * SCALE)


def test_of_a_stranger_the_mean_is_expected_in_the_order_of_popularity(folder):
    with serving(folder) as (_, caller):
        reply = caller.recommend("nobody")
        assert ids(reply.items) == [f"i{item}" for item in np.argsort(-MODEL.popularity)[:10]]
        assert {item.score for item in reply.items} == {MEAN}
        assert (reply.basis.method, reply.basis.scores_are_ratings) == (pb.POPULARITY, True)
        explained = caller.Explain(pb.ExplainRequest(user_id="nobody", item_id="i11"))
        assert (explained.score, explained.base) == (MEAN, MEAN)


@pytest.mark.parametrize("user", ["u3", "once"])
def test_an_explanation_is_in_units_of_ratings_and_adds_up(folder, user):
    rated = dict(zip(likes(3), (5.0, 1.0, 4.0, 2.5), strict=True)) if user == "u3" else {8: 5.0}
    with serving(folder) as (_, caller):
        caller.record(("one", "once", "i8", 5.0))
        explained = caller.Explain(pb.ExplainRequest(user_id=user, item_id="i11"))
        amounts = {int(part.item_id[1:]): part.amount for part in explained.contributions}
        whole = scores_of(rated)[11]
        assert explained.score == pytest.approx(MEAN + SCALE * whole, rel=1e-6)
        assert explained.base + sum(amounts.values()) == pytest.approx(explained.score)
        for item, amount in amounts.items():
            others = {other: rating for other, rating in rated.items() if other != item}
            lost = whole - (scores_of(others)[11] if others else 0.0)
            assert amount == pytest.approx(SCALE * lost, rel=1e-4, abs=1e-6)


def test_a_bundle_shows_how_its_items_would_be_rated(folder):
    with serving(folder) as (_, caller):
        reply = caller.Bundle(pb.BundleRequest(item_ids=["i8", "i2"], size=1))
        (added,) = reply.items
        assert [added.item_id] == best({8: MEAN, 2: MEAN}, 1)
        score = scores_of({8: MEAN, 2: MEAN})[int(added.item_id[1:])]
        assert added.score == pytest.approx(MEAN + SCALE * min(score, 4.0), rel=1e-6)
        similar = caller.SimilarItems(pb.SimilarItemsRequest(item_id="i8"))
        assert (reply.basis.scores_are_ratings, similar.basis.scores_are_ratings) == (True, False)
