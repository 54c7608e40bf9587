"""The service with a model that predicts ratings: a shopper's own, and events without any."""

import numpy as np
import pandas as pd
import pytest

from client.service.v1 import recommender_pb2 as pb
from common.arrays import Histories
from common.models.neural import Neural, NeuralModelSettings
from common.models.shared_arrays import DENSE, POPULARITY_ARRAY, TABLE
from tests.client.service.shop import ITEMS, deliver, ids, likes, make_shop, policy, serving

MEAN = 3.0


def a_model(loss="explicit"):
    settings = NeuralModelSettings(loss=loss, embedding_dim=6, rating_mean=MEAN, rating_scale=1.5)
    rng = np.random.default_rng(0)
    arrays = {
        TABLE: rng.normal(size=(ITEMS, 6)),
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


def scores_of(rated):
    """By the model, ratings by item."""
    items = np.array(sorted(rated), dtype=np.int64)
    weights = np.array([rated[item] for item in items], dtype=np.float64)
    history = Histories(np.array([0, len(items)]), items, weights, ITEMS)
    return MODEL.scores(MODEL.fold_in(history))[0]


def best(rated, k=10):
    order = np.argsort(-scores_of(rated), kind="stable")
    return [f"i{item}" for item in order if item not in rated][:k]


def test_the_best_rated_come_first_by_ones_own_ratings(folder):
    mine = dict(zip(likes(3), (5.0, 1.0, 4.0, 2.5), strict=True))
    with serving(folder) as (_, caller):
        reply = caller.recommend("u3")
        assert ids(reply.items) == best(mine)
        assert reply.basis.method == pb.SHOPPER
        expected = scores_of(mine)[[int(name[1:]) for name in ids(reply.items)]]
        np.testing.assert_allclose([item.score for item in reply.items], expected, rtol=1e-5)
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
