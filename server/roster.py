"""Who takes part: clients by name, from the public facts that each one states.

Nodes say who they are at the start, and those that come later before a round.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from flwr.app import Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from common.enrolment.cards import line_of_pem
from common.errors import Code, HushRecError, RunError
from common.job import Job
from common.privacy.roster import Roster
from common.protocol import HELLO, Hello
from server.quorum import NO_ANSWER, QuorumError, error_of

__all__ = ["NO_ANSWER", "Attendance", "Member", "gather"]

_LOOK_SECONDS: Final = 0.1
_LOG: Final = logging.getLogger("hushrec.server")


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
    found = Attendance(grid, job.catalogue_version, roster)
    found.gather(timeout_seconds)
    return found.present


@dataclass
class Attendance:
    """The clients of one training, as they come and go.

    Attributes:
        grid: where the nodes are.
        catalogue_version: of the catalogue that they must hold.
        roster: who may take part, if that is known; nodes with other names are left out.
        cards: reads the public node keys of the members, by name: who is counted on. Nodes with
            other keys are not asked, and of a member's node no other name is believed. None
            believes whatever is connected: a run without members.
        members: who can take part, by node.
        reasons: why a node cannot, by node.
    """

    grid: Grid
    catalogue_version: str
    roster: Roster | None = None
    cards: Callable[[], Mapping[str, str]] | None = None
    members: dict[int, Member] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _strangers: set[int] = field(default_factory=set)
    _pending: dict[str, int] = field(default_factory=dict)

    @property
    def present(self) -> Sequence[Member]:
        """Who can take part, in order of name."""
        return sorted(self.members.values(), key=lambda member: member.name)

    @property
    def expected(self) -> tuple[str, ...]:
        """Names of the members at the last look, in order."""
        return tuple(sorted(self._keys.values()))

    @property
    def absent(self) -> dict[str, str]:
        """Why each member, or other node, does not take part; by name."""
        there = {member.name for member in self.members.values()}
        said = {self._called(node): code for node, code in self.reasons.items()}
        said |= {self._called(node): str(Code.ENROLL_CARD) for node in self._strangers}
        named = {name: code for name, code in said.items() if name not in there}
        return {**{name: NO_ANSWER for name in self.expected if name not in there}, **named}

    def wait(self, nodes: int, limit_seconds: float) -> None:
        """Give nodes that may be asked time to appear; go on with those that did."""
        deadline = time.monotonic() + limit_seconds
        while len(self._nodes()) < nodes and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def gather(self, timeout_seconds: float) -> None:
        """Ask every node for its public facts and keep those who can take part.

        Raises:
            RunError: `run-quorum`, nobody can; `run-mismatch`, two nodes have one name.
        """
        nodes = self._nodes()
        self.reasons = dict.fromkeys(nodes, NO_ANSWER)
        questions = [_question(node) for node in nodes]
        for message in self.grid.send_and_receive(questions, timeout=timeout_seconds):
            if message.metadata.src_node_id in self.reasons:
                self._hear(message.metadata.src_node_id, message)
        self._check()

    def look(self) -> None:
        """Take answers of nodes that came later, and ask those who are there and unknown.

        Nobody is waited for: who answers takes part from the next look on. A member whose
        node is another now comes back under its name once the old node is gone.
        """
        nodes = self._nodes()
        answers = self.grid.pull_messages(list(self._pending)) if self._pending else ()
        for message in answers:
            node = self._pending.pop(message.metadata.reply_to_message_id, None)
            if node is not None and node in nodes:
                self._replace(node, message, nodes)
        asked = set(self._pending.values())
        unknown = [node for node in nodes if node not in self.members and node not in asked]
        for node in unknown:
            for found in self.grid.push_messages([_question(node)]):
                if found:  # Flower has none for a node that was unregistered meanwhile
                    self._pending[found] = node

    def _replace(self, node: int, message: Message, nodes: Collection[int]) -> None:
        """Hear a node that came later; a name that is here already stays whose it is."""
        self._hear(node, message)
        member = self.members.get(node)
        if member is None:
            return
        others = [n for n, m in self.members.items() if m.name == member.name and n != node]
        if any(other in nodes for other in others):
            del self.members[node]
            self.reasons[node] = str(Code.RUN_MISMATCH)
            _LOG.warning("node %d calls itself %s, who is here already", node, member.name)
            return
        for other in others:
            del self.members[other]
        _LOG.warning("%s takes part from now on", member.name)

    def _hear(self, node: int, message: Message) -> None:
        if message.has_error():
            self.reasons[node] = error_of(message)
            return
        try:
            self.members[node] = self._read(node, message)
            self.reasons.pop(node, None)
        except HushRecError as error:
            self.reasons[node] = str(error.code)
            _LOG.warning("%s does not take part: %s", self._called(node), error.code)

    def _read(self, node: int, message: Message) -> Member:
        hello = Hello.from_records(message.content)
        registered = self._names.get(node, "")
        if self.cards is not None and hello.client != registered:
            raise RunError(Code.ENROLL_CARD, f"has the card of {registered}.", where=hello.client)
        if hello.catalogue_version != self.catalogue_version:
            raise RunError(Code.CATALOGUE_MISMATCH, "holds another catalogue.", where=hello.client)
        if self.roster is not None and hello.client not in self.roster.keys:
            raise RunError(Code.POLICY_ROSTER, "is not on the roster.", where=hello.client)
        return Member(hello.client, node, hello.population, hello.private, hello.ledger_key)

    def _check(self) -> None:
        counts = Counter(member.name for member in self.members.values())
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise RunError(
                Code.RUN_MISMATCH,
                f"more than one node calls itself {', '.join(twice)}.",
                where="roster",
                remedy="Give every client a name of its own in client.toml.",
            )
        if not self.members:
            why = ", ".join(f"{name}: {code}" for name, code in sorted(self.absent.items()))
            raise QuorumError(
                f"none of {len(self.reasons) + len(self._strangers)} nodes can take part ({why}).",
                where="roster",
                remedy="Check that clients are running and hold this job's catalogue.",
                missing=1,
                refused=self.absent,
            )

    def _nodes(self) -> list[int]:
        """Nodes that are connected and may be asked; who is no member is nobody any more."""
        found: list[NodeInfo] = list(self.grid.get_nodes())
        self._read_cards()
        names = {node.node_id: self._name(node) for node in found}
        self._names = {node: name for node, name in names.items() if name is not None}
        strangers = names.keys() - self._names.keys()
        for node in strangers - self._strangers:
            _LOG.warning("node %d is on no member's card and is not asked", node)
        for node in strangers:
            self.members.pop(node, None)
            self.reasons.pop(node, None)
        self._strangers = strangers
        return list(self._names)

    def _name(self, node: NodeInfo) -> str | None:
        """What a node is called: by the card with its key, or as it was registered."""
        if self.cards is None:
            return node.name
        line = line_of_pem(node.public_key)
        return None if line is None else self._keys.get(line)

    def _read_cards(self) -> None:
        """As they are now; the operator may be writing one, and then they stay what they were."""
        if self.cards is None:
            return
        try:
            self._keys = {key: name for name, key in self.cards().items()}
        except HushRecError as error:
            _LOG.warning("the members' cards cannot be read: %s", error.code)

    def _called(self, node: int) -> str:
        return self._names.get(node) or f"node {node}"


def _question(node: int) -> Message:
    return Message(RecordDict(), dst_node_id=node, message_type=HELLO, group_id="hello")
