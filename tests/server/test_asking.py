"""What clients are sent, and what of their answers counts."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict

from common.errors import Code, RunError
from common.job import Job
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey
from common.protocol import HELLO, OK, RECEIPT, STEP, Hello, ReceiptMessage, Reply, Task
from server.app import read_job
from server.keys import server_key
from server.registry import Registry
from server.roster import gather
from server.rounds import Rounds
from tests.server.tampering import (
    Seen,
    Tamper,
    answer,
    behead,
    on_step,
    put,
    reply,
    rounds,
    silence,
    spoil,
)

BAD = "<b>pay me</b>"
Grid = Callable[..., Any]


def seq(value: int) -> Callable[[SignedHead], SignedHead]:
    return lambda head: head.model_copy(update={"seq": value})


def own(head: SignedHead) -> SignedHead:
    """The same row, by a key that the client did not state."""
    return SignedHead.sign(SigningKey.create(), head.client, head.seq, head.hash)


def anothers(head: SignedHead) -> SignedHead:
    return SignedHead.sign(SigningKey.create(), "shop-1", head.seq, head.hash)


GARBAGE: dict[str, tuple[Tamper, str]] = {
    "nan": (spoil(put(np.nan)), "inbound-array"),
    "inf": (spoil(put(np.inf)), "inbound-array"),
    "too large": (spoil(put(3e38)), "inbound-array"),
    "shape": (spoil(lambda a: a[:-1].copy()), "inbound-array"),
    "float64": (spoil(lambda a: a.astype(np.float64)), "inbound-array"),
    "ok without arrays": (answer(reply("ok")), "inbound-array"),
    "nothing": (answer(RecordDict()), "protocol-invalid"),
    "text for a code": (answer(reply(BAD)), "protocol-invalid"),
    "text for a head": (answer(reply("ok", BAD)), "protocol-invalid"),
    "a hash for a head": (answer(reply("ok", "a" * 64)), "protocol-invalid"),
    "a huge head": (answer(reply("ok", "[" * 10_000_000)), "protocol-invalid"),
    "a refusal": (answer(reply("snapshot-changed")), "snapshot-changed"),
    "a refusal by policy": (answer(reply("budget-lifetime")), "budget-lifetime"),
    "an error of Flower's": (
        lambda asked, _: Message(Error(code=1, reason=BAD), reply_to=asked), "flower-error"
    ),
    "silence": (silence, "no-answer"),
    "no head": (behead(lambda _: None), "ledger-signature"),
    "another row under the signature": (behead(seq(1 << 62)), "ledger-signature"),
    "another key": (behead(own), "ledger-signature"),
    "another client's head": (behead(anothers), "ledger-foreign"),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_release_is_a_refusal_and_never_enters_the_sum(
    run_folder: Any, recording_grid: Grid, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    tamper, code = GARBAGE[name]
    grid, seen = recording_grid(run_folder.path), Seen()
    grid.tampering = on_step(tamper, node=3)
    rounds(run_folder, grid, observer=seen).run()
    assert [record.refused for record in seen.records] == [{"shop-2": code}] * 3
    assert [record.answered for record in seen.records] == [("shop-1", "shop-3")] * 3
    lines = [f"shop-2 gives no release in step {step} (" for step in range(3)]
    said = [r.getMessage() for r in caplog.records if "gives no release" in r.getMessage()]
    assert len(said) == 3
    assert all(a.startswith(b) and a.endswith(f": {code}") for a, b in zip(said, lines, strict=True))  # fmt: skip # noqa: E501
    assert BAD not in caplog.text
    assert BAD.encode() not in b"".join(
        path.read_bytes() for path in (run_folder.path / "server").rglob("*") if path.is_file()
    )
    model, manifest = Registry(run_folder.path / "server").model(read_job(run_folder.path).catalogue_version)  # fmt: skip # noqa: E501
    assert all(np.isfinite(array).all() for array in model.arrays().values())
    assert set(manifest.heads) == {"shop-1", "shop-3"}


def sent(grid: Any, kind: str, node: int) -> list[RecordDict]:
    return [
        asked.content
        for asked, _ in grid.exchanged
        if (asked.metadata.message_type, asked.metadata.dst_node_id) == (kind, node)
    ]


def shown(grid: Any, node: int) -> list[SignedHead | None]:
    return [
        Reply.from_records(given.content).head
        for asked, given in grid.exchanged
        if (asked.metadata.message_type, asked.metadata.dst_node_id) == (STEP, node)
    ]


@pytest.mark.parametrize("node", [2, 3, 4])
def test_tasks_are_signed_and_every_client_gets_a_receipt_for_each_head(
    run_folder: Any, recording_grid: Grid, node: int
) -> None:
    grid, key = recording_grid(run_folder.path), server_key(run_folder.path)
    rounds(run_folder, grid).run()
    tasks = [Task.from_records(records) for records in sent(grid, STEP, node)]
    last = [ReceiptMessage.from_records(r).receipt for r in sent(grid, RECEIPT, node)]
    assert len(tasks) == 3
    assert len(last) == 1
    for task in tasks:
        assert task.job.server == key.public
        task.check_signature()
    assert tasks[0].receipt is None
    receipts = [task.receipt for task in tasks[1:]] + last
    for receipt, head in zip(receipts, shown(grid, node), strict=True):
        assert receipt is not None
        assert receipt.head == head
        receipt.check(server=key.public)
    answers = [g for a, g in grid.exchanged if a.metadata.message_type == RECEIPT]
    assert all(Reply.from_records(g.content) == Reply(OK) for g in answers)


def test_the_model_is_tied_to_the_heads_that_clients_signed(
    run_folder: Any, recording_grid: Grid
) -> None:
    grid = recording_grid(run_folder.path)
    rounds(run_folder, grid).run()
    registry = Registry(run_folder.path / "server")
    _, manifest = registry.model(read_job(run_folder.path).catalogue_version)
    for node, name in enumerate(("shop-1", "shop-2", "shop-3"), start=2):
        head = SignedHead.load(manifest.heads[name])
        head.check()
        assert head == shown(grid, node)[-1]


def test_the_inputs_of_a_step_are_in_memory_once(run_folder: Any, recording_grid: Grid) -> None:
    grid = recording_grid(run_folder.path)
    rounds(run_folder, grid).run()
    for step in range(3):
        inputs = [
            asked.content["inputs"]
            for asked, _ in grid.exchanged
            if asked.metadata.message_type == STEP and asked.metadata.group_id == str(step)
        ]
        assert len(inputs) == 3
        assert len({id(record) for record in inputs}) == 1


def test_a_ledger_put_back_is_left_out_and_told(
    run_folder: Any, recording_grid: Grid, caplog: pytest.LogCaptureFixture
) -> None:
    """The owner of shop-2 restores a backup between two steps."""
    home, backup = run_folder.clients / "shop-2", run_folder.path / "backup"
    grid, seen = recording_grid(run_folder.path), Seen()

    def restore(asked: Message, given: Message) -> Message:
        files = [path for path in home.iterdir() if path.name.startswith("ledger.sqlite")]
        if asked.metadata.group_id == "0":
            backup.mkdir()
            for path in files:
                shutil.copy2(path, backup)
        if asked.metadata.group_id == "1":
            for path in files:
                path.unlink()
            shutil.copytree(backup, home, dirs_exist_ok=True)
        return given

    grid.tampering = on_step(restore, node=3)
    rounds(run_folder, grid, observer=seen).run()
    refused = [record.refused for record in seen.records]
    assert refused == [{}, {}, {"shop-2": "ledger-rolled-back"}]
    assert "shop-2 gives no release in step 2 (subspace.round2): ledger-rolled-back" in caplog.text
    (last,) = sent(grid, RECEIPT, 3)
    assert ReceiptMessage.from_records(last).receipt.head == shown(grid, 3)[1]


BACK: dict[str, Callable[[SignedHead, SigningKey], SignedHead]] = {
    "the same row again": lambda head, _: head,
    "another hash": lambda head, key: SignedHead.sign(key, head.client, head.seq, "f" * 64),
}


@pytest.mark.parametrize("name", BACK)
def test_a_client_that_shows_a_head_that_contradicts_an_earlier_one_is_not_asked_again(
    run_folder: Any, recording_grid: Grid, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It holds its own key, and answers step 1 with a head that cannot be."""
    grid, seen = recording_grid(run_folder.path), Seen()

    def lie(asked: Message, given: Message) -> Message:
        key = SigningKey.load(run_folder.clients / "shop-2" / "ledger_key.pem")
        first = shown(grid, 3)[0]
        assert first is not None
        return behead(lambda _: BACK[name](first, key))(asked, given)  # type: ignore[return-value]

    grid.tampering = on_step(lie, node=3, step=1)
    rounds(run_folder, grid, observer=seen).run()
    code = {"shop-2": "ledger-rolled-back"}
    assert [record.refused for record in seen.records] == [{}, code, code]
    assert [len(sent(grid, STEP, node)) for node in (2, 3, 4)] == [3, 2, 3]
    (proof,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert proof.count('"signature"') == 2
    (last,) = sent(grid, RECEIPT, 3)
    assert ReceiptMessage.from_records(last).receipt.head == shown(grid, 3)[0]


def test_after_a_lost_reply_the_steps_can_still_be_repeated_as_they_were(
    run_folder: Any, recording_grid: Grid
) -> None:
    """Checkpoints are gone; what came in time then is used, what did not is not."""
    grid, registry = recording_grid(run_folder.path), run_folder.path / "server"
    grid.tampering = on_step(silence, node=3, step=1)
    rounds(run_folder, grid).run()
    model = (registry / "model" / "arrays.safetensors").read_bytes()
    (registry / "progress.json").unlink()
    again, seen = recording_grid(run_folder.path), Seen()
    rounds(run_folder, again, observer=seen).run()
    refused = [record.refused for record in seen.records]
    assert refused == [{}, {"shop-2": "ledger-rolled-back"}, {}]
    assert (registry / "model" / "arrays.safetensors").read_bytes() == model
    assert shown(again, 3) == shown(grid, 3)


def stopped(run: Any, recording_grid: Grid, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        rounds(run, recording_grid(run.path), observer=Seen(stop_after=after)).run()


def test_a_resumed_run_begins_with_the_receipts_that_it_left_off_with(
    run_folder: Any, recording_grid: Grid
) -> None:
    stopped(run_folder, recording_grid, after=1)
    grid = recording_grid(run_folder.path)
    rounds(run_folder, grid).run()
    for node in (2, 3, 4):
        first, second = (Task.from_records(r).receipt for r in sent(grid, STEP, node))
        assert isinstance(first, Receipt)
        assert isinstance(second, Receipt)
        assert first.head.seq < second.head.seq


def test_a_client_that_comes_back_with_another_ledger_key_is_not_asked(
    run_folder: Any, recording_grid: Grid
) -> None:
    stopped(run_folder, recording_grid, after=1)
    grid, seen = recording_grid(run_folder.path), Seen()

    def tamper(asked: Message, given: Message) -> Message:
        if (asked.metadata.message_type, asked.metadata.dst_node_id) != (HELLO, 3):
            return given
        hello = Hello.from_records(given.content)
        changed = hello.model_copy(update={"ledger_key": SigningKey.create().public})
        return Message(changed.to_records(), reply_to=asked)

    grid.tampering = tamper
    rounds(run_folder, grid, observer=seen).run()
    assert [record.refused for record in seen.records] == [{"shop-2": "ledger-signature"}] * 2
    assert sent(grid, STEP, 3) == []


def test_a_server_without_the_jobs_key_asks_nobody(run_folder: Any, recording_grid: Grid) -> None:
    grid = recording_grid(run_folder.path)
    ready = rounds(run_folder, grid)
    SigningKey.create().save(run_folder.path / "server" / "server_key.pem")
    with pytest.raises(RunError) as caught:
        ready.run()
    assert caught.value.code is Code.RUN_MISMATCH
    assert sent(grid, STEP, 2) == []


def test_a_job_that_names_no_server_is_sent_unsigned_and_witnessed_by_nobody(
    run_folder: Any, recording_grid: Grid
) -> None:
    """Clients whose policy names servers refuse it; others train."""
    for name in ("shop-1", "shop-3"):
        policy = run_folder.clients / name / "policy.toml"
        kept = [line for line in policy.read_text().splitlines() if not line.startswith("servers")]
        policy.write_text("\n".join(kept))
    job = read_job(run_folder.path).model_copy(update={"server": None})
    grid, seen = recording_grid(run_folder.path), Seen()
    rounds(run_folder, grid, job=job, observer=seen).run()
    assert [record.refused for record in seen.records] == [{"shop-2": "policy-server"}] * 3
    tasks = [Task.from_records(records) for records in sent(grid, STEP, 2)]
    assert [(task.signature, task.receipt) for task in tasks] == [("", None)] * 3
    assert sent(grid, RECEIPT, 2) == []
    assert not (run_folder.path / "server" / "witness.jsonl").exists()


@pytest.mark.parametrize(
    "tamper",
    [silence, answer(reply("ledger-write")), answer(RecordDict({"x": ConfigRecord()})),
     answer(reply(BAD)), lambda asked, _: Message(Error(code=1, reason=BAD), reply_to=asked)],
)  # fmt: skip
def test_a_receipt_that_is_not_taken_is_logged_and_changes_nothing(
    run_folder: Any, recording_grid: Grid, tamper: Tamper, caplog: pytest.LogCaptureFixture
) -> None:
    grid = recording_grid(run_folder.path)
    grid.tampering = lambda asked, given: (
        tamper(asked, given)
        if (asked.metadata.message_type, asked.metadata.dst_node_id) == (RECEIPT, 3)
        else given
    )
    assert rounds(run_folder, grid).run().completed == 3
    said = [r.getMessage() for r in caplog.records if r.name == "hushrec.server"]
    assert [line.rsplit(":", 1)[0] for line in said] == ["shop-2 does not take its last receipt"]
    assert BAD not in caplog.text


def test_a_message_from_a_node_that_was_not_asked_counts_for_nobody(
    run_folder: Any, recording_grid: Grid
) -> None:
    """Nor does a second answer of one that was."""
    grid, seen = recording_grid(run_folder.path), Seen()
    ready = rounds(run_folder, grid, observer=seen)
    plain = grid.send_and_receive

    def more(messages: Any, **options: Any) -> Any:
        for message in plain(messages, **options):
            stranger = Message(reply("ok"), reply_to=message)
            stranger.metadata.__dict__["_src_node_id"] = 99
            yield from (stranger, message, message)

    grid.send_and_receive = more
    replace(ready, grid=grid).run()
    assert [record.refused for record in seen.records] == [{}, {}, {}]
    assert [record.bytes_up for record in seen.records] == [3 * 4 * 60, 3 * 4 * 240, 3 * 4 * 240]


def test_the_app_stops_before_anybody_is_asked(run_folder: Any, recording_grid: Grid) -> None:
    from flwr.app import Context

    from server.app import make_app

    grid = recording_grid(run_folder.path)
    (run_folder.path / "server" / "server_key.pem").unlink()
    with pytest.raises(RunError) as caught:
        make_app(run_folder.path)(grid, Context(grid.run.run_id, 1, {}, RecordDict(), {}))
    assert caught.value.code is Code.RUN_MISMATCH
    assert grid.exchanged == []


def test_members_know_the_key_of_their_ledger(run_folder: Any, recording_grid: Grid) -> None:
    grid, job = recording_grid(run_folder.path), read_job(run_folder.path)
    members = gather(grid, job)
    Rounds(grid, job, members, Registry(run_folder.path / "server")).run()
    for member in members:
        head = shown(grid, member.node_id)[-1]
        assert head is not None
        assert member.ledger_key == head.key
        assert isinstance(job, Job)
