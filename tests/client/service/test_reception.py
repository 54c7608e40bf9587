"""Who sends no request, with the token or without, holds up nobody else."""

import threading
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client.service import answers
from client.service.limits import Limits
from client.service.serving import NAME
from client.service.v1 import recommender_pb2 as pb
from tests.client.launcher.deployment import until
from tests.client.service.shop import Caller, deliver, make_shop, serving

RECOMMEND = f"/{NAME}/Recommend"
CHECK = "/grpc.health.v1.Health/Check"
CROWD = 100
PATIENT = Limits(request_seconds=600.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = make_shop(tmp_path_factory.mktemp("reception") / "north")
    deliver(made)
    return made


@contextmanager
def begun(folder, place, method, count=1, **shown):
    """Calls that have begun and whose request does not come."""
    never = threading.Event()

    def nothing():
        never.wait()
        yield from ()

    with ExitStack() as open_:
        calls = []
        for _ in range(count):
            caller = Caller(folder, place, **shown)
            channel = open_.enter_context(caller.channel)
            call = channel.stream_unary(method).future(
                nothing(), timeout=600, metadata=(("authorization", caller.shown),)
            )
            open_.callback(call.cancel)
            calls.append(call)
        open_.callback(never.set)
        yield calls


def codes(calls):
    """How calls end that end by themselves."""
    return [call.exception(timeout=60).code() for call in calls]


def waiting(calls):
    return sum(not call.done() for call in calls)


def healthy(caller):
    stub = health_pb2_grpc.HealthStub(caller.channel)
    reply = stub.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=30)
    return reply.status == health_pb2.HealthCheckResponse.SERVING


def test_without_the_token_a_call_ends_before_its_request_is_there(folder):
    with (
        serving(folder, limits=PATIENT, workers=1, concurrent=1) as (_, caller),
        begun(folder, caller.place, RECOMMEND, CROWD, token="Bearer wrong") as calls,
    ):
        ended = codes(calls)
        assert set(ended) <= {
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
        assert ended.count(grpc.StatusCode.UNAUTHENTICATED) > CROWD // 2
        assert caller.recommend("u1").items
        assert healthy(caller)


def test_health_checks_without_a_request_hold_up_neither_answers_nor_each_other(folder):
    with (
        serving(folder, limits=PATIENT, workers=1, concurrent=1) as (_, caller),
        begun(folder, caller.place, CHECK, CROWD, token="") as calls,
    ):
        until(lambda: waiting(calls) <= PATIENT.checks, "all but a few to be ended")
        assert caller.recommend("u1").items
        assert all(healthy(caller) for _ in range(2 * PATIENT.checks))
        kinds = {grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert set(codes(call for call in calls if call.done())) <= kinds


def test_a_caller_whose_request_does_not_come_holds_no_worker(folder):
    with (
        serving(folder, limits=PATIENT, workers=1, concurrent=4) as (_, caller),
        begun(folder, caller.place, RECOMMEND, 3) as calls,
    ):
        assert caller.recommend("u1").items
        assert not any(call.done() for call in calls)


def test_a_request_that_does_not_come_in_time_is_not_waited_for(folder):
    limits = Limits(request_seconds=0.2)
    with (
        serving(folder, limits=limits) as (_, caller),
        begun(folder, caller.place, RECOMMEND, 3) as calls,
        begun(folder, caller.place, CHECK, 3, token="") as checks,
    ):
        assert set(codes(calls + checks)) == {grpc.StatusCode.CANCELLED}
        assert caller.recommend("u1").items


@pytest.mark.parametrize("sent", [[], [b"\xff\xff no message"]], ids=["nothing", "rubbish"])
@pytest.mark.parametrize("method", [RECOMMEND, CHECK])
def test_what_is_no_request_is_refused(folder, method, sent):
    with serving(folder) as (_, caller):
        call = caller.channel.stream_unary(method)
        metadata = (("authorization", caller.shown),)
        with pytest.raises(grpc.RpcError) as error:
            call(iter(sent), timeout=30, metadata=metadata)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caller.recommend("u1").items


def test_health_answers_while_all_workers_work(folder, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(answers, "recommend", lambda *_: gate.wait(60) and pb.RecommendReply())
    with serving(folder, workers=1, concurrent=1) as (_, caller):
        working = threading.Thread(target=caller.recommend, args=("u1",))
        working.start()
        try:
            assert healthy(caller)
        finally:
            gate.set()
            working.join()


def test_watch_is_not_offered(folder):
    with serving(folder) as (_, caller):
        watch = health_pb2_grpc.HealthStub(caller.channel).Watch
        metadata = (("authorization", caller.shown),)
        with pytest.raises(grpc.RpcError) as error:
            next(watch(health_pb2.HealthCheckRequest(), timeout=30, metadata=metadata))
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
