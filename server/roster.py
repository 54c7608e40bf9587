"""Who takes part: clients by name, from the public facts that each one states."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import Code, HushRecError, RunError
from common.job import Job
from common.privacy.roster import Roster
from common.protocol import HELLO, Hello

__all__ = ["NO_ANSWER", "Member", "gather"]

NO_ANSWER: Final = "no-answer"
"""In the place of a code, where nothing came in time."""
_LOG = logging.getLogger("hushrec.server")


@dataclass(frozen=True)
class Member:
    """A client as the server knows it; every field is a declared public constant."""

    name: str
    node_id: int
    population: int
    private: bool = True
    ledger_key: str | None = None


def gather(
    grid: Grid, job: Job, roster: Roster | None = None, *, timeout_seconds: float = 600.0
) -> Sequence[Member]:
    """Ask every node for its public facts and keep those who can take part, by name.

    Args:
        grid: where the nodes are.
        job: whose catalogue they must hold.
        roster: who may take part, if that is known; nodes with other names are left out.
        timeout_seconds: how long to wait for answers.

    Raises:
        RunError: `run-quorum`, nobody can; `run-mismatch`, two nodes have one name.
    """
    nodes = list(grid.get_node_ids())
    questions = [
        Message(RecordDict(), dst_node_id=node, message_type=HELLO, group_id="hello")
        for node in nodes
    ]
    reasons = dict.fromkeys(nodes, NO_ANSWER)
    members: dict[int, Member] = {}
    for message in grid.send_and_receive(questions, timeout=timeout_seconds):
        node = message.metadata.src_node_id
        if node not in reasons:
            continue
        try:
            members[node] = _read(message, job, roster)
            del reasons[node]
        except HushRecError as error:
            reasons[node] = str(error.code)
            _LOG.warning("node %d does not take part: %s", node, error.code)
    _check(list(members.values()), reasons)
    return sorted(members.values(), key=lambda member: member.name)


def _check(members: Sequence[Member], reasons: Mapping[int, str]) -> None:
    twice = sorted(name for name, n in Counter(m.name for m in members).items() if n > 1)
    if twice:
        raise RunError(
            Code.RUN_MISMATCH,
            f"more than one node calls itself {', '.join(twice)}.",
            where="roster",
            remedy="Give every client a name of its own in client.toml.",
        )
    if not members:
        why = ", ".join(f"node {node}: {code}" for node, code in sorted(reasons.items()))
        raise RunError(
            Code.RUN_QUORUM,
            f"none of {len(reasons)} nodes can take part ({why}).",
            where="roster",
            remedy="Check that clients are running and hold this job's catalogue.",
        )


def _read(message: Message, job: Job, roster: Roster | None) -> Member:
    if message.has_error():
        raise RunError(Code.PROTOCOL_INVALID, "Flower reports an error.", where="roster")
    hello = Hello.from_records(message.content)
    if hello.catalogue_version != job.catalogue_version:
        raise RunError(Code.CATALOGUE_MISMATCH, "holds another catalogue.", where=hello.client)
    if roster is not None and hello.client not in roster.keys:
        raise RunError(Code.POLICY_ROSTER, "is not on the roster.", where=hello.client)
    return Member(
        hello.client,
        message.metadata.src_node_id,
        hello.population,
        hello.private,
        hello.ledger_key,
    )
