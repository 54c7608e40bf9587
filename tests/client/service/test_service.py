"""The service as a shop calls it: real gRPC, real SQLite, real models."""

import grpc
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client.service import answers
from client.service.serving import NAME
from client.service.v1 import recommender_pb2 as pb
from common.arrays import Histories
from tests.client.service.shop import (
    ITEMS,
    Caller,
    deliver,
    ids,
    likes,
    log,
    make_model,
    make_shop,
    refusal,
    serving,
    write_events,
)
from tests.common.logging_state import guarded

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "request-invalid")
UNKNOWN = (grpc.StatusCode.NOT_FOUND, "catalogue-mismatch")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Folder and caller of one service; tests use shoppers of their own to record for."""
    folder = make_shop(tmp_path_factory.mktemp("service") / "north")
    deliver(folder)
    with serving(folder) as (_, caller):
        yield folder, caller


@pytest.fixture(scope="module")
def caller(shop):
    return shop[1]


def oracle(items: list[int], k: int, *, exclude: list[int] | None = None) -> list[str]:
    """Fold in, score everything, sort everything."""
    model = make_model(1)
    ordered = np.array(sorted(set(items)), dtype=np.int64)
    history = Histories(np.array([0, len(ordered)]), ordered, np.ones(len(ordered)), ITEMS)
    scores = model.scores(model.fold_in(history))[0]
    order = np.argsort(-scores, kind="stable")
    away = set(items if exclude is None else exclude)
    return [f"i{item}" for item in order if item not in away][:k]


@pytest.mark.parametrize("user", [0, 1, 7])
def test_recommendations_are_the_best_of_all_that_the_shopper_has_not_had(caller, user):
    reply = caller.recommend(f"u{user}")
    assert ids(reply.items) == oracle(likes(user), 10)
    scores = [item.score for item in reply.items]
    assert scores == sorted(scores, reverse=True)
    assert reply.items[0].title.startswith("Blend")


def test_an_answer_says_what_it_rests_on(caller):
    basis = caller.recommend("u3").basis
    assert (basis.model_version, basis.model_serial) == ("0001-0badcafe", 1)
    assert (basis.serving, basis.method, basis.personal) == (pb.JOINT, pb.SHOPPER, True)
    assert basis.held_back == ""


def test_who_is_not_known_gets_popularity_and_is_told(caller):
    reply = caller.recommend("a-stranger")
    assert (reply.basis.method, reply.basis.personal) == (pb.POPULARITY, False)
    assert ids(reply.items) == oracle([], 10)
    assert ids(caller.recommend("").items) == ids(reply.items)


def test_a_context_counts_and_is_not_kept(caller):
    with_context = caller.recommend("", context_item_ids=["i3", "i5"])
    assert with_context.basis.personal
    assert ids(with_context.items) == oracle([3, 5], 10)
    both = caller.recommend("u2", context_item_ids=["i3"])
    assert ids(both.items) == oracle([*likes(2), 3], 10)
    assert ids(caller.recommend("u2").items) == oracle(likes(2), 10)


def test_known_items_on_request(caller):
    reply = caller.recommend("u2", top_k=ITEMS, include_known=True)
    assert ids(reply.items) == oracle(likes(2), ITEMS, exclude=[])


def test_filters(caller):
    wanted = pb.Filter(categories=["juice", "coffee"], exclude_item_ids=["i1", "nobody-sells-this"])
    reply = caller.recommend("u2", top_k=ITEMS, filter=wanted)
    assert all({"juice", "coffee"} & set(item.category.split("|")) for item in reply.items)
    assert "i1" not in ids(reply.items)
    expected = [i for i in oracle(likes(2), ITEMS) if int(i[1:]) % 4 in (1, 2) and i != "i1"]
    assert ids(reply.items) == expected


def test_similar_items_are_those_of_the_same_taste(caller):
    reply = caller.SimilarItems(pb.SimilarItemsRequest(item_id="i4", top_k=8))
    assert all(int(item.item_id[1:]) % 2 == 0 for item in reply.items)
    assert "i4" not in ids(reply.items)
    assert all(-1 <= item.score <= 1 for item in reply.items)
    assert (reply.basis.method, reply.basis.personal) == (pb.ITEMS, False)


def test_an_item_without_a_vector_is_like_no_other(caller):
    reply = caller.SimilarItems(pb.SimilarItemsRequest(item_id=f"i{ITEMS - 1}"))
    assert not reply.items
    other = caller.SimilarItems(pb.SimilarItemsRequest(item_id="i1", top_k=ITEMS))
    assert f"i{ITEMS - 1}" not in ids(other.items)


def test_a_bundle_grows_one_by_one(caller):
    reply = caller.Bundle(pb.BundleRequest(item_ids=["i2", "i8"], size=4))
    chosen = [2, 8]
    for item in reply.items:
        assert item.item_id == oracle(chosen, 1)[0]
        chosen.append(int(item.item_id[1:]))
    assert len(reply.items) == 4
    assert reply.basis.method == pb.ITEMS


def test_a_bundle_ends_with_the_catalogue(caller):
    few = pb.Filter(categories=["juice"])
    reply = caller.Bundle(pb.BundleRequest(item_ids=["i2"], size=50, filter=few))
    assert len(reply.items) == ITEMS // 4 - 1


def test_a_bundle_for_an_item_without_a_vector_is_by_popularity(caller):
    reply = caller.Bundle(pb.BundleRequest(item_ids=[f"i{ITEMS - 1}"], size=1))
    assert reply.basis.method == pb.POPULARITY


def test_search(caller):
    reply = caller.Search(pb.SearchRequest(query="cafe blend 7", top_k=3))
    assert reply.items[0].item_id == "i7"
    assert (reply.basis.method, reply.basis.model_version) == (pb.CATALOGUE, "")
    hot = pb.Filter(categories=["hot"])
    found = caller.Search(pb.SearchRequest(query="blend", top_k=ITEMS, filter=hot))
    assert {item.category for item in found.items} == {"tea|hot", "coffee|hot"}


def test_an_explanation_adds_up_to_the_score_that_is_sorted_by(caller):
    shown = {item.item_id: item.score for item in caller.recommend("u5").items}
    for item_id, score in shown.items():
        reply = caller.Explain(pb.ExplainRequest(user_id="u5", item_id=item_id))
        amounts = [part.amount for part in reply.contributions]
        assert {part.item_id for part in reply.contributions} == {f"i{i}" for i in likes(5)}
        assert amounts == sorted(amounts, reverse=True)
        assert reply.score == pytest.approx(score, rel=1e-12)
        assert reply.base + sum(amounts) == pytest.approx(score, rel=1e-9, abs=1e-12)


def test_an_explanation_for_a_stranger_is_popularity(caller):
    reply = caller.Explain(pb.ExplainRequest(user_id="nobody", item_id="i1"))
    assert not reply.contributions
    assert reply.base == reply.score == pytest.approx(float(make_model(1).popularity[1]))


def test_a_recorded_event_is_in_the_next_answer(caller):
    before = caller.recommend("new-shopper")
    assert not before.basis.personal
    done = caller.record(("e1", "new-shopper", "i10"), ("e2", "new-shopper", "i12"))
    assert (done.recorded, done.repeated, len(done.refused)) == (2, 0, 0)
    after = caller.recommend("new-shopper")
    assert after.basis.personal
    assert ids(after.items) == oracle([10, 12], 10)


def test_recorded_events_join_those_of_the_log(caller):
    new = next(item for item in range(0, ITEMS, 2) if item not in likes(8))
    caller.record(("j1", "u8", f"i{new}"), ("j2", "u8", f"i{likes(8)[0]}"))
    assert ids(caller.recommend("u8").items) == oracle([*likes(8), new], 10)
    known = caller.Profile(pb.ProfileRequest(user_id="u8"))
    marks = {item.item_id: (item.in_log, item.recorded) for item in known.items}
    assert marks[f"i{new}"] == (False, True)
    assert marks[f"i{likes(8)[0]}"] == (True, True)
    assert marks[f"i{likes(8)[1]}"] == (True, False)


def test_events_sent_again_change_nothing(caller):
    event = ("again", "u9", "i1")
    assert caller.record(event).recorded == 1
    assert (caller.record(event).recorded, caller.record(event).repeated) == (0, 1)


def test_bad_events_are_named_and_the_others_kept(caller):
    far = Timestamp(seconds=4_000_000_000)
    sent = [
        pb.Event(event_id="b0", user_id="bad", item_id="i0"),
        pb.Event(event_id="b1", user_id=" ", item_id="i0"),
        pb.Event(event_id="b2", user_id="bad", item_id="nobody-sells-this"),
        pb.Event(event_id="b3", user_id="bad", item_id="i1", time=far),
        pb.Event(event_id="b4", user_id="bad", item_id="i1", time=Timestamp(seconds=-1)),
        pb.Event(event_id="", user_id="bad", item_id="i1"),
        pb.Event(event_id="b0", user_id="bad", item_id="i3"),
        pb.Event(event_id="b7", user_id="x" * 257, item_id="i3"),
        pb.Event(event_id="b8", user_id="bad", item_id="i1", time=Timestamp(nanos=2_000_000_000)),
        pb.Event(event_id="b9", user_id="bad", item_id="i2", time=Timestamp(seconds=1_790_000_000)),
    ]
    reply = caller.RecordEvents(pb.RecordEventsRequest(events=sent))
    assert reply.recorded == 2
    assert [(r.index, r.field, r.reason) for r in reply.refused] == [
        (1, "user_id", "missing"),
        (2, "item_id", "unknown-item"),
        (3, "time", "in-the-future"),
        (4, "time", "before-1970"),
        (5, "event_id", "missing"),
        (6, "event_id", "conflict"),
        (7, "user_id", "too-long"),
        (8, "time", "no-time"),
    ]
    assert [r.event_id for r in reply.refused][:2] == ["b1", "b2"]
    profile = caller.Profile(pb.ProfileRequest(user_id="bad"))
    assert ids(profile.items) == ["i0", "i2"]


def test_a_profile_is_what_the_shop_knows(caller):
    reply = caller.Profile(pb.ProfileRequest(user_id="u4"))
    assert ids(reply.items) == [f"i{item}" for item in likes(4)]
    assert reply.basis.method == pb.RECORDS
    shares = {one.category: one.share for one in reply.categories}
    hot = sum(item % 4 in (0, 1) for item in likes(4))
    assert shares.get("hot", 0.0) == pytest.approx(hot / 4)


@pytest.mark.parametrize(
    ("name", "request_", "expected"),
    [
        ("Recommend", pb.RecommendRequest(user_id="u1", top_k=1001), INVALID),
        ("Recommend", pb.RecommendRequest(user_id="u1", top_k=-1), INVALID),
        ("Recommend", pb.RecommendRequest(user_id="x" * 257), INVALID),
        ("Recommend", pb.RecommendRequest(context_item_ids=["i1"] * 1001), INVALID),
        ("Recommend", pb.RecommendRequest(context_item_ids=["nobody-sells-this"]), UNKNOWN),
        ("Recommend", pb.RecommendRequest(filter=pb.Filter(categories=["cars"])), UNKNOWN),
        ("SimilarItems", pb.SimilarItemsRequest(), INVALID),
        ("SimilarItems", pb.SimilarItemsRequest(item_id="nobody-sells-this"), UNKNOWN),
        ("Bundle", pb.BundleRequest(), INVALID),
        ("Bundle", pb.BundleRequest(item_ids=["i1"], size=51), INVALID),
        ("Search", pb.SearchRequest(query=" "), INVALID),
        ("Search", pb.SearchRequest(query="a" * 501), INVALID),
        ("Explain", pb.ExplainRequest(user_id="u1"), INVALID),
        ("Profile", pb.ProfileRequest(), INVALID),
        ("RecordEvents", pb.RecordEventsRequest(events=[pb.Event()] * 1001), INVALID),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_calls_that_cannot_be_meant(caller, name, request_, expected):
    assert refusal(lambda: getattr(caller, name)(request_)) == expected


@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer wrong", "Basic dTpw"])
def test_without_the_token_nothing_is_answered(shop, shown):
    folder, caller = shop
    stranger = Caller(folder, caller.place, token=shown)
    with stranger.channel:
        expected = (grpc.StatusCode.UNAUTHENTICATED, "service-token")
        assert refusal(lambda: stranger.recommend("u1")) == expected
        assert refusal(lambda: stranger.record(("s", "u1", "i1"))) == expected


def test_health_needs_no_token(caller):
    stub = health_pb2_grpc.HealthStub(caller.channel)
    for name in ("", NAME):
        reply = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
    assert refusal(lambda: next(watch)) == (grpc.StatusCode.UNAUTHENTICATED, "service-token")


def test_a_message_above_the_bound_is_not_read(caller):
    huge = pb.SearchRequest(query="x" * (5 * 2**20))
    assert refusal(lambda: caller.Search(huge))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_what_is_the_callers_alone_is_readable_by_nobody_else(shop):
    folder, caller = shop
    caller.record(("private", "u1", "i1"))
    for name in ("service.token", "recorded.sqlite", "recorded.sqlite-wal"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_what_nobody_foresaw_is_found_in_the_log_and_quotes_nobody(caller, monkeypatch):
    def fails(*_):
        raise ValueError("row of Ada-Lovelace-1815")

    monkeypatch.setattr(answers, "recommend", fails)
    with guarded() as written, pytest.raises(grpc.RpcError) as error:
        caller.recommend("Ada-Lovelace-1815")
    assert refusal(lambda: caller.recommend("u1")) == (grpc.StatusCode.INTERNAL, "internal")
    assert "Ada" not in error.value.details()
    (line,) = written.lines
    assert (line["error"], line["trace"][-1].split()[1]) == ("ValueError", "fails")
    assert "Ada" not in written.text


def test_joint_answers_do_not_depend_on_other_shoppers(tmp_path):
    """The same shopper and model; everybody else's log is another."""
    answers = []
    for number, keep in enumerate((True, False)):
        folder = make_shop(tmp_path / str(number))
        histories = {user: items for user, items in log().items() if keep or user == "u6"}
        histories |= {} if keep else {"z": [1, 2, 3], "y": list(range(ITEMS))}
        write_events(folder, histories)
        deliver(folder)
        with serving(folder) as (_, caller):
            if keep:
                caller.record(("o1", "u7", "i0"))
            replies = [caller.recommend(user, include_known=True) for user in ("u6", "nobody")]
            replies.append(caller.Explain(pb.ExplainRequest(user_id="u6", item_id="i0")))
            replies.append(caller.Profile(pb.ProfileRequest(user_id="u6")))
            answers.append([reply.SerializeToString(deterministic=True) for reply in replies])
    assert answers[0] == answers[1]
