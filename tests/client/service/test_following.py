"""The service follows its folder: models, imports and the policy, without a restart."""

import threading

import grpc
import numpy as np
import pytest

from client.importing import import_events
from client.models import ModelStore
from client.service import stock, tuning
from client.service.desk import now
from client.service.served import Served
from client.service.v1 import recommender_pb2 as pb
from client.store import ClientStore
from common.models.refit import RefitSettings, refit
from tests.client.service.shop import (
    ITEMS,
    catalogue,
    deliver,
    ids,
    log,
    make_shop,
    policy,
    refusal,
    serving,
    write_events,
)

MISSING = (grpc.StatusCode.FAILED_PRECONDITION, "model-missing")


def no_memory(*_):
    raise MemoryError


def arrays_of(folder, serial):
    """The arrays of a delivered version."""
    (found,) = (folder / "models").glob(f"{serial:04}-*/arrays.safetensors")
    return found


def own_best(folder, user_id):
    """Refit, fold in, sort everything: what the shop's own model says first."""
    store, held = ClientStore.open(folder), ModelStore(folder).current()
    assert held is not None
    settings, rng = RefitSettings(), np.random.default_rng(held.serial)
    model = refit(held.model, store.histories, settings, rng).model
    history = store.histories.take(np.array([store.user_ids.index(user_id)]))
    scores = model.scores(model.fold_in(history))[0]
    order = np.argsort(-scores, kind="stable")[:10]
    return [(f"i{item}", pytest.approx(scores[item])) for item in order]


def test_what_was_recorded_stays_in_answers_while_the_new_log_is_read(tmp_path, monkeypatch):
    """A nightly import: one call reads the new log, the others go on with the old one."""
    folder = make_shop(tmp_path / "north")
    reading, go_on = threading.Event(), threading.Event()

    class Slow:
        @staticmethod
        def open(place):
            reading.set()
            assert go_on.wait(60)
            return ClientStore.open(place)

    with serving(folder) as (_, caller):

        def known():
            profile = caller.Profile(pb.ProfileRequest(user_id="newcomer"))
            return [(item.item_id, item.in_log) for item in profile.items]

        caller.record(("e1", "newcomer", "i7"))
        assert known() == [("i7", False)]
        monkeypatch.setattr(stock, "ClientStore", Slow)
        assert import_events(folder, None, now(), recorded=True).added == 1
        first = threading.Thread(target=known)
        first.start()
        assert reading.wait(60)
        assert known() == [("i7", False)]
        go_on.set()
        first.join()
        assert known() == [("i7", True)]
        assert caller.record(("e1", "newcomer", "i7")).repeated == 1


def test_before_the_first_model(tmp_path):
    folder = make_shop(tmp_path / "north")
    with serving(folder) as (_, caller):
        assert refusal(lambda: caller.recommend("u1")) == MISSING
        similar = pb.SimilarItemsRequest(item_id="i1")
        assert refusal(lambda: caller.SimilarItems(similar)) == MISSING
        assert caller.Search(pb.SearchRequest(query="blend 7")).items
        assert caller.record(("e", "u1", "i1")).recorded == 1
        assert caller.Profile(pb.ProfileRequest(user_id="u1")).items
        deliver(folder)
        assert caller.recommend("u1").basis.model_serial == 1


def test_a_delivered_model_answers_the_next_call(tmp_path):
    folder = make_shop(tmp_path / "north")
    deliver(folder, 1)
    with serving(folder) as (_, caller):
        first = caller.recommend("u1")
        deliver(folder, 2)
        second = caller.recommend("u1")
    assert (first.basis.model_serial, second.basis.model_serial) == (1, 2)
    assert second.basis.model_version.startswith("0002-")
    assert [item.score for item in first.items] != [item.score for item in second.items]


def test_a_damaged_model_is_reported_and_the_old_one_kept(tmp_path, caplog):
    folder = make_shop(tmp_path / "north")
    deliver(folder, 1)
    with serving(folder) as (_, caller):
        before = caller.recommend("u1")
        deliver(folder, 2)
        whole = arrays_of(folder, 2).read_bytes()
        arrays_of(folder, 2).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        for _ in range(2):
            after = caller.recommend("u1")
            assert after.basis.held_back == "artifact-invalid"
            assert (after.basis.model_serial, ids(after.items)) == (1, ids(before.items))
        assert len([line for line in caplog.messages if "artifact-invalid" in line]) == 1
        deliver(folder, 3)
        again = caller.recommend("u1").basis
        assert (again.model_serial, again.held_back) == (3, "")


def test_a_model_that_was_damaged_before_the_start(tmp_path):
    folder = make_shop(tmp_path / "north")
    deliver(folder, 1)
    arrays_of(folder, 1).write_bytes(b"not arrays")
    expected = (grpc.StatusCode.FAILED_PRECONDITION, "artifact-invalid")
    with serving(folder) as (_, caller):
        assert refusal(lambda: caller.recommend("u1")) == expected
        assert refusal(lambda: caller.recommend("u1")) == expected
        assert caller.Search(pb.SearchRequest(query="blend")).basis.held_back == "artifact-invalid"


def test_a_model_that_fails_for_what_nobody_foresaw(tmp_path, monkeypatch):
    folder = make_shop(tmp_path / "north")
    deliver(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Served, "warmed", no_memory)
        with serving(folder) as (_, caller):
            expected = (grpc.StatusCode.INTERNAL, "internal")
            assert refusal(lambda: caller.recommend("u1")) == expected
            assert caller.Search(pb.SearchRequest(query="blend")).basis.held_back == "internal"
    with serving(folder) as (_, caller):
        before = caller.recommend("u1")
        deliver(folder, 2)
        monkeypatch.setattr(Served, "warmed", no_memory)
        after = caller.recommend("u1")
        assert (after.basis.model_serial, after.basis.held_back) == (1, "internal")
        assert ids(after.items) == ids(before.items)


def test_a_model_for_another_catalogue_answers_nothing(tmp_path):
    folder = make_shop(tmp_path / "north")
    deliver(folder, 1)
    catalogue(ITEMS - 1).save(folder / "catalogue.json")
    write_events(folder, log(ITEMS - 1))
    expected = (grpc.StatusCode.FAILED_PRECONDITION, "artifact-catalogue")
    with serving(folder) as (_, caller):
        assert refusal(lambda: caller.recommend("u1")) == expected


def test_an_import_is_in_the_next_answer(tmp_path):
    folder = make_shop(tmp_path / "north")
    deliver(folder)
    with serving(folder) as (_, caller):
        assert not caller.recommend("fresh").basis.personal
        write_events(folder, {**log(), "fresh": [0, 2]})
        assert caller.recommend("fresh").basis.personal
        (folder / "events.parquet").write_bytes(b"not a table")
        kept = caller.recommend("fresh")
        assert (kept.basis.personal, kept.basis.held_back) == (True, "data-format")


def test_shop_serving_is_the_policys_to_give_and_to_take(tmp_path):
    folder = make_shop(tmp_path / "north", "shop")
    deliver(folder)
    with serving(folder) as (service, caller):
        assert service.desk.models.wait_tuned(60)
        own = caller.recommend("u1", include_known=True)
        assert own.basis.serving == pb.SHOP
        assert [(item.item_id, item.score) for item in own.items] == own_best(folder, "u1")
        released = caller.SimilarItems(pb.SimilarItemsRequest(item_id="i1"))
        assert released.basis.serving == pb.JOINT
        explained = caller.Explain(pb.ExplainRequest(user_id="u1", item_id="i0"))
        assert explained.basis.serving == pb.SHOP
        amounts = [part.amount for part in explained.contributions]
        assert explained.base + sum(amounts) == pytest.approx(explained.score)
        (folder / "policy.toml").write_text(policy("joint"))
        joint = caller.recommend("u1", include_known=True)
        assert joint.basis.serving == pb.JOINT
        (folder / "policy.toml").unlink()
        assert refusal(lambda: caller.recommend("u1"))[1] == "policy-missing"


class Refits:
    """Trains as the shop does, but waits at a gate, and fails while it is told to."""

    def __init__(self, monkeypatch):
        self.gate = threading.Event()
        self.error = None
        self.begun = 0
        monkeypatch.setattr(tuning, "refit", self._refit)

    def _refit(self, *asked):
        self.begun += 1
        assert self.gate.wait(60)
        if self.error is not None:
            raise self.error
        return refit(*asked)


@pytest.fixture
def refits(monkeypatch):
    return Refits(monkeypatch)


def own_and_held_back(caller):
    basis = caller.recommend("u1").basis
    return basis.serving, basis.model_serial, basis.held_back


def test_an_own_model_serves_until_that_of_the_next_delivery_is_trained(tmp_path, refits):
    folder = make_shop(tmp_path / "north", "shop")
    deliver(folder, 1)
    refits.gate.set()
    with serving(folder) as (service, caller):
        assert service.desk.models.wait_tuned(60)
        refits.gate.clear()
        deliver(folder, 2)
        assert [own_and_held_back(caller) for _ in range(2)] == [(pb.SHOP, 1, "")] * 2
        refits.gate.set()
        assert service.desk.models.wait_tuned(60)
        assert own_and_held_back(caller) == (pb.SHOP, 2, "")


def test_until_the_shops_model_is_trained_the_answer_is_joint_and_says_so(tmp_path, refits):
    folder = make_shop(tmp_path / "north", "shop")
    with serving(folder) as (service, caller):
        deliver(folder)
        assert [own_and_held_back(caller) for _ in range(2)] == [(pb.JOINT, 1, "")] * 2
        refits.gate.set()
        assert service.desk.models.wait_tuned(60)
        assert own_and_held_back(caller) == (pb.SHOP, 1, "")
        assert not caller.recommend("nobody").basis.personal


def test_an_own_model_of_another_log_gives_way_where_the_next_cannot_be_trained(
    tmp_path, refits, monkeypatch
):
    folder = make_shop(tmp_path / "north", "shop")
    deliver(folder)
    refits.gate.set()
    with serving(folder) as (service, caller):
        assert service.desk.models.wait_tuned(60)
        refits.gate.clear()
        refits.error = MemoryError()
        write_events(folder, {**log(), "fresh": [0, 2]})
        assert own_and_held_back(caller) == (pb.SHOP, 1, "")
        refits.gate.set()
        assert service.desk.models.wait_tuned(60)
        failed = [own_and_held_back(caller) for _ in range(3)]
        assert failed == [(pb.JOINT, 1, "internal")] * 3
        assert refits.begun == 2  # not tried again by each call
        (folder / "policy.toml").write_text(policy("joint"))
        assert own_and_held_back(caller) == (pb.JOINT, 1, "")
        (folder / "policy.toml").write_text(policy("shop"))
        refits.error = None
        monkeypatch.setattr(tuning, "_RETRY_SECONDS", 0.0)
        caller.recommend("u1")
        assert service.desk.models.wait_tuned(60)
        assert own_and_held_back(caller) == (pb.SHOP, 1, "")
        assert refits.begun == 3


def test_an_own_model_whose_thread_cannot_be_started(tmp_path, monkeypatch):
    folder = make_shop(tmp_path / "north", "shop")

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    with serving(folder) as (service, caller), monkeypatch.context() as patch:
        deliver(folder)
        patch.setattr(tuning.Tuning, "_begin", no_thread)
        assert own_and_held_back(caller) == (pb.JOINT, 1, "internal")
        assert service.desk.models.wait_tuned(0)
