"""Who takes part: from public facts alone, and with a reason for everybody who does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict

from common.errors import Code, RunError
from common.privacy.roster import Roster
from common.protocol import HELLO, Hello
from server.app import read_job
from server.roster import gather


def gathered(grid: Any, run: Any) -> list[str]:
    return [member.name for member in gather(grid, read_job(run.path))]


def altered(change: Callable[[dict[str, Any]], None], nodes: set[int]) -> Callable[..., Any]:
    """Answer for some nodes with other public facts."""

    def tamper(asked: Message, reply: Message) -> Message:
        if asked.metadata.message_type != HELLO or reply.metadata.src_node_id not in nodes:
            return reply
        facts = json.loads(reply.content["reply"]["hello"])
        change(facts)
        records = RecordDict({"reply": ConfigRecord({"code": "ok", "hello": json.dumps(facts)})})
        return Message(records, reply_to=asked)

    return tamper


def test_members_are_declared_facts_in_order_of_name(
    run_folder: Any, recording_grid: Callable[..., Any]
) -> None:
    members = gather(recording_grid(run_folder.path), read_job(run_folder.path))
    assert [(m.name, m.population, m.private) for m in members] == [
        ("shop-1", 48, False), ("shop-2", 40, False), ("shop-3", 32, False)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "facts",
    [
        {"catalogue_version": "0" * 64},
        {"client": "<script>"},
        {"client": "x" * 65},
        {"population": 0},
        {"population": 10**400},
        {"population": "many"},
        {"version": "v" * 1000},
        {"private": None},
        {"users": 47},
    ],
    ids=lambda facts: f"{next(iter(facts))}",
)
def test_a_node_with_facts_that_do_not_fit_is_left_out(
    run_folder: Any, recording_grid: Callable[..., Any], facts: dict[str, Any]
) -> None:
    grid = recording_grid(run_folder.path)
    grid.tampering = altered(lambda found: found.update(facts), {3})
    assert gathered(grid, run_folder) == ["shop-1", "shop-3"]


def test_nodes_that_are_not_on_the_roster_stop_nobody_whatever_they_call_themselves(
    run_folder: Any, recording_grid: Callable[..., Any]
) -> None:
    grid = recording_grid(run_folder.path)
    grid.tampering = altered(lambda found: found.update(client="stranger"), {3, 4})
    with pytest.raises(RunError, match="stranger"):
        gathered(grid, run_folder)
    roster = Roster.of({"shop-1": "1" * 64, "shop-2": "2" * 64, "shop-3": "3" * 64})
    members = gather(grid, read_job(run_folder.path), roster)
    assert [member.name for member in members] == ["shop-1"]


def test_silence_errors_and_garbage_are_left_out(
    run_folder: Any, recording_grid: Callable[..., Any]
) -> None:
    def tamper(asked: Message, reply: Message) -> Message | None:
        return {
            2: None,
            3: Message(Error(code=3, reason="text that nobody reads"), reply_to=asked),
            4: reply,
        }[reply.metadata.src_node_id]

    grid = recording_grid(run_folder.path)
    grid.tampering = tamper
    assert gathered(grid, run_folder) == ["shop-3"]


def test_two_nodes_of_one_name_stop_the_run(
    run_folder: Any, recording_grid: Callable[..., Any]
) -> None:
    grid = recording_grid(run_folder.path)
    grid.tampering = altered(lambda found: found.update(client="shop-1"), {4})
    with pytest.raises(RunError, match="shop-1") as caught:
        gathered(grid, run_folder)
    assert caught.value.code is Code.RUN_MISMATCH


def test_nobody_left_names_every_node_with_its_reason(
    run_folder: Any, recording_grid: Callable[..., Any]
) -> None:
    (run_folder.clients / "shop-1" / "events.parquet").unlink()
    grid = recording_grid(run_folder.path)

    def tamper(asked: Message, reply: Message) -> Message | None:
        other = altered(lambda found: found.update(catalogue_version="0" * 64), {3})
        return None if reply.metadata.src_node_id == 4 else other(asked, reply)

    grid.tampering = tamper
    with pytest.raises(RunError) as caught:
        gathered(grid, run_folder)
    assert caught.value.code is Code.RUN_QUORUM
    assert "node 2: client-unready" in caught.value.message
    assert "node 3: catalogue-mismatch" in caught.value.message
    assert "node 4: no-answer" in caught.value.message


def test_a_hello_round_trips() -> None:
    hello = Hello(client="a", population=3, catalogue_version="c", version="1", private=True)
    assert Hello.from_records(hello.to_records()) == hello
