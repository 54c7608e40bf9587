"""The committed stubs are those of the committed interface."""

from pathlib import Path

import grpc_tools
import pytest
from grpc_tools import protoc

from client.service.v1 import recommender_pb2, recommender_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]
PROTO = "client/service/v1/recommender.proto"
STUBS = ("recommender_pb2.py", "recommender_pb2.pyi", "recommender_pb2_grpc.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with stubs that are made now."""
    out = tmp_path_factory.mktemp("stubs")
    builtin = Path(grpc_tools.__file__).parent / "_proto"
    flags = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    status = protoc.main(["protoc", f"-I{ROOT}", f"-I{builtin}", *flags, str(ROOT / PROTO)])
    assert status == 0
    return out / Path(PROTO).parent


@pytest.mark.parametrize("name", STUBS)
def test_a_stub_is_what_the_interface_makes(made, name):
    committed = (ROOT / PROTO).with_name(name)
    assert committed.read_text() == (made / name).read_text(), "make the stubs again"


def test_the_methods_are_those_that_the_guide_has():
    service = recommender_pb2.DESCRIPTOR.services_by_name["Recommender"]
    assert service.full_name == "hushrec.v1.Recommender"
    for method in service.methods:
        assert hasattr(recommender_pb2_grpc.RecommenderServicer, method.name)


def test_every_field_has_a_number_that_is_never_given_again():
    """Numbers run from 1 without a gap until one is retired, and then it is `reserved`."""
    for message in recommender_pb2.DESCRIPTOR.message_types_by_name.values():
        numbers = sorted(field.number for field in message.fields)
        assert numbers == list(range(1, len(numbers) + 1)), message.name
