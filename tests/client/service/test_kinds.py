"""The service with a model of another kind: the same calls, and the order of events counts."""

import numpy as np
import pytest

from client.service.v1 import recommender_pb2 as pb
from common.arrays import Histories
from common.models.registry import KINDS
from tests.client.service.shop import (
    ITEMS,
    deliver,
    ids,
    likes,
    make_shop,
    policy,
    refusal,
    serving,
)
from tests.kinds import NAME, a_drift, know_drift

MODEL = a_drift(ITEMS, seed=3)


@pytest.fixture
def known(monkeypatch):
    know_drift(monkeypatch)


@pytest.fixture
def folder(known, tmp_path):
    folder = make_shop(tmp_path / "north")
    deliver(folder, model=MODEL)
    return folder


def scores_of(sequence):
    """By the model, items in the order in which they were met; the last place counts."""
    last_first = list(dict.fromkeys(reversed(sequence)))
    met = np.array(last_first[::-1], dtype=np.int64)
    items = np.sort(met)
    order = np.array([list(met).index(item) for item in items], dtype=np.int64)
    history = Histories(np.array([0, len(items)]), items, np.ones(len(items)), ITEMS, order)
    return MODEL.scores(MODEL.fold_in(history))[0]


def best(sequence, k=10):
    order = np.argsort(-scores_of(sequence), kind="stable")
    return [f"i{item}" for item in order if item not in set(sequence)][:k]


def test_recommendations_are_by_the_model_and_by_the_order_of_events(folder):
    with serving(folder) as (_, caller):
        reply = caller.recommend("u3")
        assert ids(reply.items) == best(likes(3))
        assert (reply.basis.serving, reply.basis.method) == (pb.JOINT, pb.SHOPPER)
        first, *others = likes(3)
        caller.record(("again", "u3", f"i{first}"), ("new", "u3", "i0"))
        assert ids(caller.recommend("u3").items) == best([*others, first, 0])
        shown = caller.recommend("u3", context_item_ids=["i7", "i2"])
        assert ids(shown.items) == best([*others, first, 0, 7, 2])
        turned = caller.recommend("u3", context_item_ids=["i2", "i7"])
        assert ids(turned.items) == best([*others, first, 0, 2, 7])
        assert [item.score for item in shown.items] != [item.score for item in turned.items]
        assert caller.recommend("a-stranger").basis.method == pb.POPULARITY


def test_events_that_are_recorded_late_stand_where_their_time_is(folder):
    with serving(folder) as (_, caller):
        events = [
            pb.Event(event_id=str(place), user_id="new", item_id=f"i{item}")
            for place, item in enumerate((5, 9, 20))
        ]
        for event, seconds in zip(events, (300, 100, 200), strict=True):
            event.time.FromSeconds(seconds)
        caller.RecordEvents(pb.RecordEventsRequest(events=events))
        assert ids(caller.recommend("new").items) == best([9, 20, 5])


def test_similar_items_and_bundles_are_by_its_vectors(folder):
    with serving(folder) as (_, caller):
        table = MODEL.table.astype(float)
        table /= np.linalg.norm(table, axis=1, keepdims=True)
        order = np.argsort(-(table @ table[4]), kind="stable")
        reply = caller.SimilarItems(pb.SimilarItemsRequest(item_id="i4", top_k=5))
        assert ids(reply.items) == [f"i{item}" for item in order if item != 4][:5]
        bundle = caller.Bundle(pb.BundleRequest(item_ids=["i8", "i2"], size=2))
        first = best([8, 2], 1)
        assert ids(bundle.items) == [*first, *best([8, 2, int(first[0][1:])], 1)]


def test_an_explanation_leaves_each_item_out_and_says_so(folder):
    with serving(folder) as (_, caller):
        reply = caller.Explain(pb.ExplainRequest(user_id="u5", item_id="i11"))
        assert reply.attribution == pb.LEFT_OUT
        score = scores_of(likes(5))[11]
        assert reply.score == pytest.approx(score, rel=1e-9)
        found = {part.item_id: part.amount for part in reply.contributions}
        for item in likes(5):
            without = scores_of([one for one in likes(5) if one != item])[11]
            assert found[f"i{item}"] == pytest.approx(score - without, rel=1e-6, abs=1e-9)
        assert reply.base + sum(found.values()) == pytest.approx(score, rel=1e-9)
        only = caller.Explain(pb.ExplainRequest(item_id="i11", context_item_ids=["i3"]))
        assert [part.amount for part in only.contributions] == [only.score]
        nobody = caller.Explain(pb.ExplainRequest(user_id="nobody", item_id="i11"))
        assert nobody.attribution == pb.ATTRIBUTION_UNSPECIFIED


def test_terms_stay_terms_for_matrix_factorisation(tmp_path):
    folder = make_shop(tmp_path / "north")
    deliver(folder)
    with serving(folder) as (_, caller):
        reply = caller.Explain(pb.ExplainRequest(user_id="u5", item_id="i11"))
        assert reply.attribution == pb.TERMS


def test_shop_serving_chooses_between_the_model_as_it_is_and_one_of_its_own(folder):
    (folder / "policy.toml").write_text(policy("shop"))
    with serving(folder) as (service, caller):
        assert service.desk.models.wait_tuned(60)
        reply = caller.recommend("u3")
        assert (reply.basis.serving, reply.basis.held_back) == (pb.SHOP, "")
        chosen = service.desk.models.answering(service.desk.stock).model
        assert chosen.kind in (NAME, "mf")
        assert (
            len(caller.Explain(pb.ExplainRequest(user_id="u3", item_id="i11")).contributions) == 4
        )


def test_a_kind_that_is_not_known_is_said_and_the_model_before_it_answers(tmp_path, monkeypatch):
    folder = make_shop(tmp_path / "north")
    deliver(folder)
    with serving(folder) as (_, caller):
        before = caller.recommend("u3")
        with monkeypatch.context() as patch:
            know_drift(patch)
            deliver(folder, 2, MODEL)  # another process, of a newer version
        assert NAME not in KINDS
        reply = caller.recommend("u3")
        assert reply.basis.held_back == "model-kind"
        assert (reply.basis.model_serial, ids(reply.items)) == (1, ids(before.items))
    with serving(folder) as (_, caller):  # and a service that begins with it
        status, code = refusal(lambda: caller.recommend("u3"))
        assert (status.name, code) == ("FAILED_PRECONDITION", "model-kind")
