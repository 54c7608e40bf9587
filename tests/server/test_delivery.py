"""The promoted model at real clients, and what the server makes of what they answer."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from client.models import ModelStore
from common.artifacts import load_artifact
from common.errors import Code, HushRecError
from common.privacy.signing import SigningKey
from common.protocol import MODEL, OK, ModelMessage, Reply
from server.app import read_job
from server.delivery import deliver, promoted_message
from server.keys import SERVER_KEY
from server.models import Models
from simulations.engine.folders import client_folders
from tests.conftest import RecordingGrid
from tests.sent_models import finished

JOBS = [f"{at:08x}" * 4 for at in range(1, 4)]


class NamedGrid(RecordingGrid):
    """The in-process grid whose nodes were registered under names, like a deployment's."""

    names: tuple[str, ...] = ("north", "south", "west")

    def get_nodes(self) -> Iterable[NodeInfo]:
        nodes = zip(self.get_node_ids(), self.names, strict=True)
        return [NodeInfo(node_id=node, name=name) for node, name in nodes]


@pytest.fixture
def home(run_folder: Any, tmp_path: Path) -> Path:
    """The server's home of a run, with a version promoted."""
    home: Path = run_folder.path / "server"
    promote(home, tmp_path, 0)
    return home


def promote(home: Path, tmp_path: Path, at: int, **manifest: Any) -> str:
    catalogue = read_job(home.parent).catalogue_version
    folder = finished(tmp_path / JOBS[at], JOBS[at], at, catalogue_version=catalogue, **manifest)
    version = Models(home).register("run", folder).version
    Models(home).promote(version, not_private=True)
    return version


def served(home: Path) -> list[tuple[int, str] | None]:
    found = [ModelStore(folder).current() for folder in client_folders(home.parent)]
    return [None if held is None else (held.serial, held.version) for held in found]


def send(home: Path, grid: Any = None) -> dict[str, str]:
    return deliver(grid or NamedGrid(home.parent), home, 5.0)


def raises(code: Code, home: Path) -> None:
    grid = NamedGrid(home.parent)
    with pytest.raises(HushRecError) as caught:
        deliver(grid, home, 5.0)
    assert caught.value.code is code
    assert grid.exchanged == []


def test_every_client_serves_what_is_promoted(home: Path, tmp_path: Path) -> None:
    assert send(home) == {"north": OK, "south": OK, "west": OK}
    assert served(home) == [(1, "0001-00000001")] * 3
    promote(home, tmp_path, 1)
    assert send(home) == {"north": OK, "south": OK, "west": OK}
    Models(home).rollback()
    assert send(home) == {"north": OK, "south": OK, "west": OK}
    assert served(home) == [(3, "0001-00000001")] * 3


def test_it_is_the_model_that_was_registered_to_the_last_bit(home: Path) -> None:
    send(home)
    registered, manifest = load_artifact(Models(home).versions()[0].folder)
    for folder in client_folders(home.parent):
        held = ModelStore(folder).current()
        assert held is not None
        assert held.manifest.sha256 == manifest.sha256
        for name, array in held.model.arrays().items():
            np.testing.assert_array_equal(array, registered[name])


def test_all_are_sent_the_same_and_it_names_no_client(home: Path) -> None:
    grid = NamedGrid(home.parent)
    send(home, grid)
    asked = [ModelMessage.from_records(asked.content) for asked, _ in grid.exchanged]
    assert {message.signature for message in asked} == {promoted_message(home).signature}
    assert len(asked) == 3
    assert all(message.manifest.heads == {} for message in asked)
    assert Models(home).versions()[0].manifest.heads
    assert "shop-1" not in str(grid.exchanged[0][0].content["model"])


def test_delivered_again_it_is_ok(home: Path) -> None:
    send(home)
    before = [ModelStore(folder).stamp for folder in client_folders(home.parent)]
    assert send(home) == {"north": OK, "south": OK, "west": OK}
    assert [ModelStore(folder).stamp for folder in client_folders(home.parent)] == before


def test_who_was_away_has_it_next_time(home: Path) -> None:
    grid = NamedGrid(home.parent)
    grid.tampering = lambda asked, reply: None if asked.metadata.dst_node_id == 3 else reply
    assert send(home, grid) == {"north": OK, "south": "no-answer", "west": OK}
    assert send(home) == {"north": OK, "south": OK, "west": OK}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda asked: Message(Reply("disk-full").to_records(), reply_to=asked), "disk-full"),
        (lambda asked: Message(RecordDict(), reply_to=asked), "protocol-invalid"),
        (lambda asked: Message(Error(code=1, reason="<b>"), reply_to=asked), "flower-error"),
        (lambda asked: Message(Error(code=5, reason="<b>"), reply_to=asked), "no-answer"),
        (
            lambda asked: Message(
                RecordDict({"reply": ConfigRecord({"code": "<b>", "head": ""})}), reply_to=asked
            ),
            "protocol-invalid",
        ),
    ],
    ids=["refusal", "nothing", "error", "gone", "text"],
)
def test_an_answer_that_is_none_is_a_code(
    home: Path, caplog: Any, answer: Callable[[Message], Message], code: str
) -> None:
    grid = NamedGrid(home.parent)
    grid.tampering = lambda asked, reply: (
        answer(asked) if asked.metadata.dst_node_id == 3 else reply
    )
    with caplog.at_level(logging.WARNING, "hushrec.server"):
        assert send(home, grid) == {"north": OK, "south": code, "west": OK}
    assert f"south does not have 0001-00000001: {code}" in caplog.text
    assert "<b>" not in caplog.text


def test_nodes_are_told_apart(home: Path) -> None:
    grid = NamedGrid(home.parent)
    grid.names = ("north", "north", "")
    assert send(home, grid) == {"north (node 2)": OK, "north (node 3)": OK, "node 4": OK}


def test_a_server_that_was_put_back_is_told_so(home: Path, tmp_path: Path) -> None:
    backup = shutil.copytree(home / "models", tmp_path / "backup")
    promote(home, tmp_path, 1)
    promote(home, tmp_path, 2)
    send(home)
    shutil.rmtree(home / "models")
    shutil.copytree(backup, home / "models")
    stale = str(Code.MODEL_STALE)
    assert send(home) == {"north": stale, "south": stale, "west": stale}
    assert served(home) == [(3, "0003-00000003")] * 3
    for _ in range(3):
        Models(home).promote("0001-00000001")
    assert set(send(home).values()) == {OK}
    assert served(home) == [(4, "0001-00000001")] * 3


def test_a_client_refuses_what_has_no_guarantee(home: Path, tmp_path: Path) -> None:
    promote(home, tmp_path, 1, private=False)
    assert set(send(home).values()) == {str(Code.MODEL_NOT_PRIVATE)}
    assert served(home) == [None] * 3


def test_a_client_refuses_another_server_with_the_same_home(home: Path) -> None:
    SigningKey.create().save(home / SERVER_KEY)
    assert set(send(home).values()) == {str(Code.POLICY_SERVER)}


def test_what_cannot_be_sent_is_said_before_anybody_is_asked(home: Path, tmp_path: Path) -> None:
    (home / SERVER_KEY).rename(tmp_path / "key")
    raises(Code.RUN_MISMATCH, home)
    (tmp_path / "key").rename(home / SERVER_KEY)
    version = Models(home).versions()[0]
    arrays = version.folder / "arrays.safetensors"
    arrays.rename(tmp_path / "arrays")
    raises(Code.ARTIFACT_INVALID, home)
    shutil.rmtree(version.folder)
    raises(Code.MODEL_UNKNOWN, home)
    shutil.rmtree(home / "models")
    raises(Code.MODEL_MISSING, home)


def test_nobody_there_is_no_error(home: Path) -> None:
    grid = NamedGrid(home.parent)
    grid.names = ()
    grid.get_node_ids = lambda: ()  # type: ignore[method-assign]
    assert send(home, grid) == {}


def test_a_message_is_of_the_type_that_clients_know(home: Path) -> None:
    grid = NamedGrid(home.parent)
    send(home, grid)
    assert {asked.metadata.message_type for asked, _ in grid.exchanged} == {MODEL}
