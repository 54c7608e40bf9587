"""Coming in: which answers of a server mean something, and which are waited out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse
from flwr.proto.run_pb2 import GetRunRequest, GetRunResponse
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.launcher import door as doors
from client.launcher import link as links
from client.launcher.door import Door
from client.launcher.link import Link
from client.launcher.number import Number
from common.errors import Code, RunError
from tests.client.launcher.test_link import ADDRESS, status

LET_IN = 200
KEY = b"k"


@dataclass
class Server:
    """What it says to activations and to questions for a run, in this order."""

    activations: list[int]
    runs: list[int] = field(default_factory=list)

    def ActivateNode(self, _: ActivateNodeRequest) -> ActivateNodeResponse:  # noqa: N802
        return cast(
            "ActivateNodeResponse", _said(self.activations, ActivateNodeResponse(node_id=7))
        )

    def GetRun(self, _: GetRunRequest) -> GetRunResponse:  # noqa: N802
        return cast("GetRunResponse", _said(self.runs, GetRunResponse()))


def _said(left: list[int], answer: Any) -> Any:
    if (found := left.pop(0)) != LET_IN:
        raise status(found)
    return answer


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links.time, "sleep", lambda _: None)
    monkeypatch.setattr(doors.time, "sleep", lambda _: None)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """The file of a node that was let in before."""
    Number(tmp_path / "number.json", KEY).keep(7)
    return tmp_path / "number.json"


def entered(server: Server, memory: Path | None = None) -> int:
    door = Door(Link(ADDRESS), cast("FleetHttpClient", server), KEY, 10.0)
    return door.enter(Number(memory, KEY))


@pytest.mark.parametrize("code", [403, 404, 429, 500, 503])
def test_a_server_that_does_not_say_no_is_waited_for(code: int) -> None:
    server = Server([code, code, code, LET_IN])
    assert entered(server) == 7
    assert not server.activations


@pytest.mark.parametrize("code", [400, 412])
def test_a_key_that_is_declined_ends_it_where_the_server_knows_no_number(code: int) -> None:
    with pytest.raises(RunError) as caught:
        entered(Server([code]))
    assert caught.value.code is Code.NODE_REFUSED


@pytest.mark.parametrize("answers", [[403], [404], [LET_IN], [500, 429, 403]])
def test_a_number_whose_signature_is_taken_waits_for_its_place(
    memory: Path, answers: list[int]
) -> None:
    server = Server([412, LET_IN], runs=list(answers))
    assert entered(server, memory) == 7
    assert not server.runs


def test_a_number_whose_signature_is_not_taken_ends_it(memory: Path) -> None:
    with pytest.raises(RunError) as caught:
        entered(Server([412], runs=[401]), memory)
    assert caught.value.code is Code.NODE_REFUSED
