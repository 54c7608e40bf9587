"""What programs may cost clients by trying again: bounded on disk, whoever fails or is killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import Message

from client.guard.releasing import Releasing
from common.errors import Code, RunError
from common.protocol import STEP, SUM, SumCall
from server.registry import Registry
from server.repeats import REPEATS
from server.training.folder import OK, Outcome, Training

Made = Callable[..., Any]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Clients whose disk fails between a reservation and its commit."""
    names: set[str] = set()
    commit = Releasing._commit

    def fail(self: Releasing, *given: Any, **more: Any) -> Any:
        if self._store.settings.name in names:
            raise OSError("the disk is gone")
        return commit(self, *given, **more)

    monkeypatch.setattr(Releasing, "_commit", fail)
    return names


def tried(trained: Any) -> Outcome:
    """As a driver does once: start a server app, and look how it ended."""
    with pytest.raises(RunError):
        trained.run()
    found = Outcome.of_run(trained.folder)
    assert found is not None
    return found


def reserves(trained: Any, spent: Made) -> dict[str, int]:
    return {name: kinds.count("reserve") for name, kinds in spent(trained.shops.path).items()}


def test_a_client_that_fails_within_its_release_takes_a_person(
    made: Made, spent: Made, failing: set[str]
) -> None:
    failing.add("shop-2")
    trained = made(quorum=3)
    found = tried(trained)
    assert (found.code, found.passes) == (Code.RUN_QUORUM, False)
    assert "shop-2: internal" in found.message
    assert "is not charged again" in found.remedy
    for _ in range(4):
        assert not tried(trained).passes
    assert reserves(trained, spent) == {"shop-1": 1, "shop-2": 1 + REPEATS, "shop-3": 1}


def test_silence_is_tried_again_a_few_times_and_a_person_goes_on(
    made: Made, spent: Made, failing: set[str]
) -> None:
    """Its task was killed: nobody knows whether it had reserved, and it had."""
    failing.add("shop-2")
    trained = made(quorum=3)

    def silent(asked: Message, reply: Message) -> Message | None:
        mine = asked.metadata.dst_node_id == 3 and asked.metadata.message_type == STEP
        return None if mine and failing else reply

    trained.grid.tampering = silent
    assert [tried(trained).passes for _ in range(REPEATS + 2)] == [True] * REPEATS + [False] * 2
    assert "No program asks shop-2 again" in tried(trained).remedy
    assert reserves(trained, spent)["shop-2"] == 1 + REPEATS
    failing.clear()
    Training(trained.folder).resume()
    trained.run()
    assert {kinds.count("spend") for kinds in spent(trained.shops.path).values()} == {3}
    assert reserves(trained, spent) == {"shop-1": 3, "shop-2": 4 + REPEATS, "shop-3": 3}


def test_server_apps_that_are_killed_within_a_round_ask_no_more_often(
    made: Made, spent: Made, failing: set[str]
) -> None:
    failing.add("shop-2")
    trained = made(quorum=3)

    def kill(asked: Message, reply: Message) -> Message | None:
        if asked.metadata.dst_node_id == 3 and asked.metadata.message_type == STEP:
            raise KeyboardInterrupt
        return reply

    trained.grid.tampering = kill
    for _ in range(1 + REPEATS):
        with pytest.raises(KeyboardInterrupt):
            trained.run()
    for _ in range(2):
        assert not tried(trained).passes
    assert reserves(trained, spent) == {"shop-1": 1, "shop-2": 1 + REPEATS, "shop-3": 0}


def test_the_others_go_on_without_who_is_held(made: Made, failing: set[str], spent: Made) -> None:
    failing.add("shop-2")
    trained = made(quorum=2)
    trained.run()
    found = Outcome.of_run(trained.folder)
    assert found is not None
    assert found.code == OK
    records = Registry(trained.folder / "server").rounds()
    assert [record.answered for record in records] == [("shop-1", "shop-3")] * 3
    assert reserves(trained, spent) == dict.fromkeys(("shop-1", "shop-2", "shop-3"), 3)


def test_secure_sums_whose_server_is_killed_take_a_person(summing: Any, spent: Made) -> None:
    """After words came and before their total: each session is charged."""
    summing.ask(mode="distributed", threshold=3, colluders=1, delta=0.004, attempts=1, rounds=1)

    def kill(asked: Message, reply: Message) -> Message:
        is_sum = asked.metadata.message_type == SUM
        if is_sum and SumCall.from_records(asked.content).stage == "survivors":
            raise KeyboardInterrupt
        return reply

    summing.grid.tampering = kill
    with pytest.raises(KeyboardInterrupt):
        summing.run()
    for _ in range(3):
        found = tried(summing)
        assert (found.code, found.passes) == (Code.RUN_QUORUM, False)
    assert set(reserves(summing, spent).values()) == {1}
    Training(summing.folder).resume()
    summing.grid.tampering = lambda _, reply: reply
    summing.run()
    assert set(reserves(summing, spent).values()) == {3}
