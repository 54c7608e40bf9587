"""Who is there from round to round: who comes back, under another node too, and who may not.

Members are known by the keys on their cards, whatever their nodes were registered as, or say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from client.app import make_app
from common.enrolment.cards import openssh_line
from common.errors import Code, ConfigError
from common.protocol import HELLO
from server.app import read_job
from server.quorum import NO_ANSWER
from server.roster import Attendance
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessGrid

NAMES = ("shop-1", "shop-2", "shop-3")
KEYS = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(5)]


class Town(InProcessGrid):
    """Nodes that come and go; each was registered with a key."""

    def __init__(self, run: Path) -> None:
        super().__init__(make_app(simulation=True), client_folders(run))
        self.cards = {name: openssh_line(key) for name, key in zip(NAMES, KEYS, strict=False)}
        self.registered = dict(zip((2, 3, 4), KEYS, strict=False))
        self.away: set[int] = set()
        self.arriving: int | None = None
        self.asked: set[int] = set()
        self.answering: Callable[[Message, Message], Message] = lambda _, reply: reply

    def move(self, old: int, new: int, key: ec.EllipticCurvePublicKey | None = None) -> None:
        """A client gets another node; the old one stays as it is."""
        self._contexts[new] = self._contexts[old]
        self.registered[new] = key or self.registered[old]

    def get_node_ids(self) -> list[int]:
        return [node for node in self._contexts if node not in self.away]

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Whoever is arriving is there the next time that somebody looks."""
        found = [
            NodeInfo(node_id=node, name="shop-2", public_key=pem(self.registered[node]))
            for node in self.get_node_ids()
        ]
        self.away.discard(self.arriving or 0)
        return found

    def _deliver(self, message: Message) -> Message:
        self.asked.add(message.metadata.dst_node_id)
        return self.answering(message, super()._deliver(message))


def pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def town(run_folder: Any) -> Town:
    return Town(run_folder.path)


@pytest.fixture
def attendance(town: Town, run_folder: Any) -> Attendance:
    return Attendance(town, read_job(run_folder.path).catalogue_version, cards=lambda: town.cards)


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


def test_whoever_is_no_member_is_not_asked_and_not_believed(
    town: Town, attendance: Attendance
) -> None:
    """Neither one whose card was revoked and whose node stayed, nor one without a card."""
    del town.cards["shop-2"]
    town.answering = calling("shop-1", {3})
    attendance.gather(1.0)
    assert present(attendance) == {"shop-1": 2, "shop-3": 4}
    assert attendance.absent == {"node 3": "enroll-card"}
    assert attendance.expected == ("shop-1", "shop-3")
    assert 3 not in town.asked


def test_a_stranger_that_calls_itself_as_a_member_does_not_keep_it_away(
    town: Town, attendance: Attendance
) -> None:
    town.away = {3}
    town.move(3, 9, KEYS[3])
    attendance.gather(1.0)
    attendance.look()
    assert present(attendance) == {"shop-1": 2, "shop-3": 4}
    assert attendance.absent == {"shop-2": NO_ANSWER, "node 9": "enroll-card"}
    town.away = set()
    for _ in range(2):
        attendance.look()
    assert present(attendance) == {"shop-1": 2, "shop-2": 3, "shop-3": 4}


def test_a_card_that_is_revoked_or_renewed_counts_from_the_next_look_on(
    town: Town, attendance: Attendance
) -> None:
    attendance.gather(1.0)
    town.move(3, 9, KEYS[3])
    town.cards["shop-2"] = openssh_line(KEYS[3])
    attendance.look()
    assert present(attendance) == {"shop-1": 2, "shop-3": 4}
    attendance.look()
    assert present(attendance) == {"shop-1": 2, "shop-2": 9, "shop-3": 4}
    town.cards.clear()
    attendance.look()
    assert present(attendance) == {}


def test_cards_that_cannot_be_read_for_a_moment_stay_what_they_were(
    town: Town, attendance: Attendance
) -> None:
    attendance.gather(1.0)

    def torn() -> dict[str, str]:
        raise ConfigError(Code.CONFIG_INVALID, "half a card.")

    attendance.cards = torn
    attendance.look()
    assert sorted(present(attendance)) == list(NAMES)


def test_only_members_are_waited_for(town: Town, attendance: Attendance) -> None:
    town.away = {3}
    town.move(3, 9, KEYS[3])
    town.arriving = 3
    attendance.wait(3, 60.0)
    assert town.away == set()


def test_a_refusal_is_known_by_the_name_on_the_card(
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
