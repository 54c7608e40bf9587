"""Drive a job over real clients, and change what some of them answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from common.privacy.heads import SignedHead
from common.protocol import STEP, Reply
from server.app import read_job, read_roster
from server.record import RoundRecord
from server.registry import Registry
from server.roster import gather
from server.rounds import Rounds

Tamper: TypeAlias = Callable[[Message, Message], Message | None]
"""Question and honest reply in, what arrives out; None for silence."""


@dataclass
class Seen:
    """Keeps the rounds; may interrupt after some."""

    records: list[RoundRecord] = field(default_factory=list)
    stop_after: int | None = None

    def round_done(self, record: RoundRecord) -> None:
        self.records.append(record)
        if self.stop_after == len(self.records):
            raise KeyboardInterrupt


def rounds(run: Any, grid: Any, **changes: Any) -> Rounds:
    job = read_job(run.path)
    roster = read_roster(run.path)
    plain = Rounds(grid, job, gather(grid, job), Registry(run.path / "server"), roster=roster)
    return replace(plain, **changes)


def on_step(tamper: Tamper, node: int, step: int | None = None) -> Tamper:
    """Tamper with one node's releases, in one step or in all."""

    def apply(asked: Message, reply: Message) -> Message | None:
        meta = asked.metadata
        mine = meta.message_type == STEP and meta.dst_node_id == node
        mine = mine and (step is None or meta.group_id == str(step))
        return tamper(asked, reply) if mine else reply

    return apply


def spoil(make: Callable[[np.ndarray], np.ndarray]) -> Tamper:
    """Change the arrays of a release."""

    def tamper(asked: Message, reply: Message) -> Message:
        honest = Reply.from_records(reply.content)
        arrays = {name: make(array) for name, array in honest.arrays.items()}
        return Message(replace(honest, arrays=arrays).to_records(), reply_to=asked)

    return tamper


def behead(make: Callable[[SignedHead], SignedHead | None]) -> Tamper:
    """Change the head of a release."""

    def tamper(asked: Message, reply: Message) -> Message:
        honest = Reply.from_records(reply.content)
        if honest.head is None:
            return reply
        return Message(replace(honest, head=make(honest.head)).to_records(), reply_to=asked)

    return tamper


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def make(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[0] = value
        return array

    return make


def answer(records: RecordDict) -> Tamper:
    return lambda asked, _: Message(records, reply_to=asked)


def reply(code: str, head: str = "") -> RecordDict:
    header = ConfigRecord({"code": code, "head": head})
    return RecordDict({"reply": header, "release": ArrayRecord()})


def silence(_asked: Message, _reply: Message) -> None:
    return None
