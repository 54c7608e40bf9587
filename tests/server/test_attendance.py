"""Who is there from round to round: who comes back, under another node too, and who may not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from client.app import make_app
from common.protocol import HELLO
from server.app import read_job
from server.quorum import NO_ANSWER
from server.roster import Attendance
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessGrid

NAMES = ("shop-1", "shop-2", "shop-3")


class Town(InProcessGrid):
    """Nodes that come and go; each was registered under a name."""

    def __init__(self, run: Path) -> None:
        super().__init__(make_app(simulation=True), client_folders(run))
        self.registered = {2: "shop-1", 3: "shop-2", 4: "shop-3"}
        self.away: set[int] = set()
        self.answering: Callable[[Message, Message], Message] = lambda _, reply: reply

    def move(self, old: int, new: int) -> None:
        """A client gets another node; the old one stays as it is."""
        self._contexts[new] = self._contexts[old]
        self.registered[new] = self.registered[old]

    def get_node_ids(self) -> list[int]:
        return [node for node in self._contexts if node not in self.away]

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [
            NodeInfo(node_id=node, name=self.registered.get(node, ""))
            for node in self.get_node_ids()
        ]

    def _deliver(self, message: Message) -> Message:
        return self.answering(message, super()._deliver(message))


@pytest.fixture
def town(run_folder: Any) -> Town:
    return Town(run_folder.path)


@pytest.fixture
def attendance(town: Town, run_folder: Any) -> Attendance:
    return Attendance(town, read_job(run_folder.path).catalogue_version, expected=NAMES)


def present(attendance: Attendance) -> dict[str, int]:
    return {member.name: member.node_id for member in attendance.present}


def calling(name: str, nodes: set[int]) -> Callable[[Message, Message], Message]:
    """Some nodes state another name."""

    def answer(asked: Message, reply: Message) -> Message:
        node = asked.metadata.dst_node_id
        if asked.metadata.message_type != HELLO or node not in nodes:
            return reply
        facts = {**json.loads(reply.content["reply"]["hello"]), "client": name}
        records = RecordDict({"reply": ConfigRecord({"code": "ok", "hello": json.dumps(facts)})})
        return Message(records, reply_to=asked)

    return answer


def test_who_was_away_takes_part_once_it_has_said_who_it_is(
    town: Town, attendance: Attendance
) -> None:
    town.away = {3}
    attendance.gather(1.0)
    assert present(attendance) == {"shop-1": 2, "shop-3": 4}
    assert attendance.absent == {"shop-2": NO_ANSWER}
    attendance.look()
    town.away = set()
    attendance.look()
    assert "shop-2" not in present(attendance)
    attendance.look()
    assert present(attendance) == {"shop-1": 2, "shop-2": 3, "shop-3": 4}
    assert attendance.absent == {}


def test_a_member_with_another_node_is_back_once_the_old_one_is_gone(
    town: Town, attendance: Attendance
) -> None:
    attendance.gather(1.0)
    town.move(3, 9)
    for _ in range(2):
        attendance.look()
    assert present(attendance)["shop-2"] == 3
    town.away = {3}
    for _ in range(2):
        attendance.look()
    assert present(attendance) == {"shop-1": 2, "shop-2": 9, "shop-3": 4}
    assert attendance.absent == {}


def test_a_node_cannot_take_the_name_of_another_member(town: Town, attendance: Attendance) -> None:
    town.answering = calling("shop-1", {3})
    attendance.gather(1.0)
    assert present(attendance) == {"shop-1": 2, "shop-3": 4}
    assert attendance.absent == {"shop-2": "enroll-card"}


def test_a_node_that_nobody_counts_on_is_known_by_what_it_says(
    town: Town, attendance: Attendance
) -> None:
    town.registered[3] = "a-node"
    attendance.gather(1.0)
    assert sorted(present(attendance)) == list(NAMES)


def test_a_refusal_is_known_by_the_name_that_the_node_was_registered_under(
    town: Town, attendance: Attendance, run_folder: Any
) -> None:
    events = run_folder.clients / "shop-3" / "events.parquet"
    kept = events.read_bytes()
    events.unlink()
    attendance.gather(1.0)
    assert attendance.absent == {"shop-3": "client-unready"}
    events.write_bytes(kept)
    for _ in range(2):
        attendance.look()
    assert sorted(present(attendance)) == list(NAMES)


def test_a_node_that_flower_has_given_up_is_silent_and_another_error_is_flowers(
    town: Town, attendance: Attendance
) -> None:
    codes = {3: 5, 4: 2}  # NODE_UNAVAILABLE, and an app that raised

    def failing(asked: Message, reply: Message) -> Message:
        code = codes.get(asked.metadata.dst_node_id)
        return reply if code is None else Message(Error(code=code, reason=""), reply_to=asked)

    town.answering = failing
    attendance.gather(1.0)
    assert attendance.absent == {"shop-2": NO_ANSWER, "shop-3": "flower-error"}
    codes.clear()
    for _ in range(2):
        attendance.look()
    assert sorted(present(attendance)) == list(NAMES)
