"""Where the service may listen, with which bounds, and how it ends."""

import stat
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import grpc
import pytest

from client.service import answers
from client.service.answers import bundle
from client.service.serving import Listening, Service
from client.service.v1 import recommender_pb2 as pb
from client.service.v1.recommender_pb2_grpc import RecommenderStub
from common.certificates import certificate_pem, issue, key_pem, make_authority, new_key
from common.errors import Code, ConfigError
from tests.client.launcher.deployment import until
from tests.client.service.shop import Caller, deliver, free_port, make_shop, refusal, serving

REQUEST = pb.BundleRequest(item_ids=["i1"], size=35)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = make_shop(tmp_path_factory.mktemp("listening") / "north")
    deliver(made)
    return made


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Certificate and key of 127.0.0.1, and the authority's certificate."""
    place = tmp_path_factory.mktemp("tls")
    signer, key = new_key(), new_key()
    authority = make_authority("test", signer, days=1)
    certificate = issue(authority, signer, key, ["127.0.0.1"], days=1)
    (place / "tls.pem").write_bytes(certificate_pem(certificate))
    (place / "tls_key.pem").write_bytes(key_pem(key))
    return place / "tls.pem", place / "tls_key.pem", certificate_pem(authority)


@pytest.mark.parametrize(
    "options",
    [
        {"place": "0.0.0.0:50051"},
        {"place": "192.0.2.7:50051"},
        {"place": "[::]:50051"},
        {"place": "localhost:50051"},
        {"place": "127.0.0.1"},
        {"certificate": "tls.pem"},
        {"key": "tls_key.pem"},
    ],
    ids=["all", "another", "all-6", "a-name", "no-port", "no-key", "no-certificate"],
)
def test_what_would_be_heard_elsewhere_in_the_clear_is_refused(options):
    with pytest.raises(ConfigError) as error:
        Listening(**options)
    assert error.value.code == Code.CONFIG_INVALID


def test_other_places_than_loopback_are_for_tls(pair):
    certificate, key, _ = pair
    assert Listening("192.0.2.7:50051", certificate, key).place == "192.0.2.7:50051"


def test_over_tls(folder, pair):
    certificate, key, roots = pair
    place = f"127.0.0.1:{free_port()}"
    with Service(folder, Listening(place, certificate, key)):
        token = Caller(folder, place)
        credentials = grpc.ssl_channel_credentials(roots)
        with grpc.secure_channel(place, credentials) as channel, token.channel:
            call = RecommenderStub(channel).Recommend
            metadata = (("authorization", token.shown),)
            reply = call(pb.RecommendRequest(user_id="u1"), timeout=30, metadata=metadata)
            assert reply.items
            assert refusal(lambda: token.recommend("u1"))[0] == grpc.StatusCode.UNAVAILABLE


def test_certificate_and_key_that_cannot_be_used(folder, tmp_path, pair):
    other = tmp_path / "none.pem"
    for certificate, key in ((other, pair[1]), (pair[1], pair[1])):
        listening = Listening(f"127.0.0.1:{free_port()}", certificate, key)
        with pytest.raises(ConfigError) as error:
            Service(folder, listening)
        assert error.value.code == Code.CONFIG_INVALID


def test_over_a_socket_of_the_owners_own(folder, tmp_path):
    place = f"unix:{tmp_path}/s"
    with Service(folder, Listening(place)):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        caller = Caller(folder, place)
        with caller.channel:
            assert caller.recommend("u1").items


def test_a_folder_of_no_client_is_refused(tmp_path):
    with pytest.raises(ConfigError) as error:
        Service(tmp_path, Listening())
    assert error.value.code == Code.CONFIG_NOT_FOUND


def test_a_place_that_is_taken_is_refused(folder):
    with serving(folder) as (_, caller), pytest.raises(ConfigError) as error:
        Service(folder, Listening(caller.place))
    assert error.value.code == Code.CONFIG_INVALID


class Gate:
    """Holds bundles back until it is opened."""

    def __init__(self, monkeypatch):
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        monkeypatch.setattr(answers, "bundle", self._bundle)

    def _bundle(self, *asked):
        self.entered.release()
        assert self.open.wait(60)
        return bundle(*asked)


def test_more_calls_than_are_taken_on_are_refused_and_the_others_answered(folder, monkeypatch):
    gate = Gate(monkeypatch)
    with (
        serving(folder, workers=1, concurrent=3) as (_, caller),
        ThreadPoolExecutor(10) as crowd,
    ):
        calls = [crowd.submit(caller.Bundle, REQUEST) for _ in range(10)]
        refused = list(islice(as_completed(calls, timeout=60), 7))
        expected = {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {call.exception().code() for call in refused} == expected
        assert gate.entered.acquire(timeout=60)
        assert not gate.entered.acquire(blocking=False)  # one worker: the others wait
        gate.open.set()
        assert all(call.result().items for call in set(calls) - set(refused))
        assert caller.Bundle(REQUEST).items


def test_a_call_whose_time_is_over_is_not_worked_on(folder):
    with serving(folder) as (_, caller):
        call = refusal(lambda: caller.Bundle(pb.BundleRequest(item_ids=["i1"]), timeout=1e-6))
        assert call[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def test_what_is_being_answered_at_the_end_is_answered(folder, monkeypatch):
    gate = Gate(monkeypatch)
    place = f"127.0.0.1:{free_port()}"
    service = Service(folder, Listening(place)).__enter__()
    caller = Caller(folder, place)
    with ThreadPoolExecutor(2) as crowd, caller.channel:
        call = crowd.submit(caller.Bundle, REQUEST)
        assert gate.entered.acquire(timeout=60)
        ending = crowd.submit(service.__exit__)
        until(lambda: is_closed(caller), "the service to take no more calls")
        gate.open.set()
        assert call.result().items
        ending.result()


def is_closed(caller):
    try:
        return not caller.recommend("u1").items
    except grpc.RpcError as error:
        return error.code() == grpc.StatusCode.UNAVAILABLE
