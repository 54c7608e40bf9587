"""The node's loop: what comes is answered once, and nothing that comes ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flwr.app import Message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.fab import Fab
from flwr.supercore.run import Run, RunNotRunningException

from client.launcher.endings import Expelled
from client.launcher.fleet import Fleet
from client.launcher.node import Node
from client.launcher.parcel import Packed
from client.launcher.task import perform
from common.errors import Code
from common.protocol import OK
from simulations.run_folder import RunFolder
from tests.client.launcher.asking import BUNDLE, CONTENT, code, hello, received
from tests.conftest import Shop


@dataclass
class Server:
    """A SuperLink's side of a connection, in this process: whatever it likes to send."""

    content: bytes = CONTENT
    named: str = BUNDLE.sha256
    kind: str = "flwr-serverapp"
    over: bool = False
    breaks: str = ""
    unreadable: list[BaseException] = field(default_factory=list)
    waiting: list[tuple[Message, Packed]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    answers: list[Packed] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)

    def ask(self) -> None:
        message = hello()
        self.waiting.append((received(message), Packed.of(message)))

    def fleet(self) -> Fleet:
        return Fleet(
            node_id=5,
            receive=self._receive,
            send=self._send,
            get_run=self._run,
            get_fab=lambda _hash, _run: self._told("fab", Fab(self.named, self.content, {})),
            pull_object=self._object,
            push_object=self._take,
            confirm=lambda _run, _id: self._told("confirm"),
        )

    def _told(self, what: str, answer: Any = None) -> Any:
        if what == self.breaks:
            raise ValueError(f"{what}: a shopper's name")
        self.fetched.append(what)
        return answer

    def _receive(self) -> tuple[Message, ObjectTree] | None:
        if self.unreadable:
            raise self.unreadable.pop()
        if not self.waiting:
            return None
        message, self._asked = self.waiting.pop(0)
        return message, ObjectTree.FromString(self._asked.tree)

    def _run(self, run_id: int) -> Run:
        run = Run.create_empty(run_id)
        run.fab_hash, run.primary_task_type = self.named, self.kind
        return self._told("run", run)  # type: ignore[no-any-return]

    def _object(self, _run: int, name: str) -> bytes:
        return self._told("object", self._asked.objects[name])  # type: ignore[no-any-return]

    def _send(self, message: Message, tree: ObjectTree, duration: float) -> tuple[set[str], str]:
        if self.over:
            raise RunNotRunningException
        head = message_to_proto(message).SerializeToString()
        self.answers.append(Packed(head, tree.SerializeToString()))
        self.durations.append(duration)
        ids = {tree.object_id, *_ids(tree)}
        return ids, "session"

    def _take(self, _run: int, session: str, name: str, content: bytes) -> None:
        assert session == "session"
        self.answers[-1].objects[name] = content

    @property
    def codes(self) -> list[str]:
        return [code(answer) for answer in self.answers]


def _ids(tree: ObjectTree) -> set[str]:
    return {one for child in tree.children for one in (child.object_id, *_ids(child))}


@pytest.fixture
def client(prepare_run: Callable[..., RunFolder], open_shop: Callable[..., Shop]) -> Shop:
    shop = open_shop(prepare_run(fixed_noise=False), deployed=True)
    shop.allow(bundles=(BUNDLE.sha256,))
    return shop


def asked(server: Server, client: Shop, times: int = 1) -> Node:
    node = Node(server.fleet(), client.folder, work=perform)  # in this process: it is quicker
    for _ in range(times):
        server.ask()
        assert node.answer_next()
    assert not node.answer_next()
    return node


def test_a_listed_run_is_answered_and_its_bundle_fetched_once(client: Shop) -> None:
    server = Server()
    asked(server, client, times=2)
    assert server.codes == [OK, OK]
    assert server.fetched.count("fab") == 1
    assert server.fetched.count("confirm") == 2


def test_how_long_an_answer_took_is_not_told(client: Shop) -> None:
    server = Server()
    asked(server, client)
    assert server.durations == [0.0]


@pytest.mark.parametrize(
    "server",
    [
        Server(content=b"PK\x03\x04 not a zip"),
        Server(content=b""),
        Server(named=""),
        Server(named="x" * 100_000),
        Server(kind="flwr-agentapp"),
    ],
    ids=["rubbish", "nothing", "no name", "long name", "agent"],
)
def test_a_bundle_that_is_not_listed_is_refused_before_the_message_is_fetched(
    client: Shop, server: Server
) -> None:
    asked(server, client)
    assert server.codes == [Code.POLICY_BUNDLE]
    assert not {"object", "confirm"} & set(server.fetched)


@pytest.mark.parametrize("what", ["run", "fab", "object", "confirm"])
def test_what_breaks_on_the_way_is_a_code_without_text_and_the_node_goes_on(
    client: Shop, what: str
) -> None:
    server = Server(breaks=what)
    node = asked(server, client)
    assert server.codes == [Code.INTERNAL]
    assert not any(b"shopper" in blob for blob in server.answers[0].objects.values())
    server.breaks = ""
    server.ask()
    assert node.answer_next()
    assert server.codes[-1] == OK


def test_the_answer_to_a_run_that_is_over_is_dropped(client: Shop) -> None:
    server = Server(over=True)
    asked(server, client)
    assert server.answers == []


def test_what_cannot_be_read_as_a_message_is_left_and_the_node_goes_on(
    client: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(unreadable=[ValueError("a shopper's name"), RunNotRunningException()])
    node = Node(server.fleet(), client.folder, work=perform)
    assert [node.answer_next(), node.answer_next()] == [False, False]
    assert len(caplog.records) == 2
    server.ask()
    assert node.answer_next()
    assert server.codes == [OK]


def test_a_node_that_is_not_known_any_more_ends(client: Shop) -> None:
    node = Node(Server(unreadable=[Expelled()]).fleet(), client.folder, work=perform)
    with pytest.raises(Expelled):
        node.answer_next()


def test_a_policy_that_is_changed_holds_at_once(client: Shop) -> None:
    server = Server()
    node = asked(server, client)
    client.allow(bundles=())
    server.ask()
    assert node.answer_next()
    assert server.codes == [OK, Code.POLICY_BUNDLE]
