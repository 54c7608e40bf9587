"""The guard under a policy: caps over jobs, servers, crashes; receipts; what the owner does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from client.guard import Guard
from client.store import POLICY_TOML
from common.errors import Code, PolicyError
from common.job import Job
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey
from common.protocol import HELLO, OK, RECEIPT, Hello, ReceiptMessage, Reply, Task

NOW = "2030-01-01T00:00:00.000+00:00"


def other(task: Task, job_id: str = "ef" * 16, **fields: Any) -> Task:
    return replace(task, job=task.job.model_copy(update={"job_id": job_id, **fields}))


def receipt_of(shop: Any, head: SignedHead, key: SigningKey | None = None) -> Receipt:
    return Receipt.sign(key or shop.key, head, NOW)


def send_receipt(shop: Any, receipt: Receipt) -> str:
    records = ReceiptMessage(receipt).to_records()
    return Reply.from_records(shop.send(records, RECEIPT).content).code


def hello(shop: Any) -> Message:
    return shop.send(RecordDict(), HELLO)


def code_of(message: Message) -> str:
    return Reply.from_records(message.content).code


def test_without_a_policy_nothing_is_answered(shop: Any, caplog: Any) -> None:
    (shop.folder / POLICY_TOML).unlink()
    assert shop.ask(shop.task()) == Reply(str(Code.POLICY_MISSING))
    assert code_of(hello(shop)) == str(Code.POLICY_MISSING)
    assert shop.kinds() == ["open", "refuse", "refuse"]
    assert POLICY_TOML in caplog.text


def test_a_policy_that_cannot_be_meant_allows_nothing(shop: Any) -> None:
    for text in ("", "lifetime = 3", "[lifetime]\nepsilon = inf\ndelta = 1e-6", "servers = ["):
        (shop.folder / POLICY_TOML).write_text(text)
        assert shop.ask(shop.task()) == Reply(str(Code.CONFIG_INVALID))
    (shop.folder / POLICY_TOML).write_text("[lifetime]\nepsilon = 1.0\ndelta = 1e-6\n[more]\n")
    assert shop.ask(shop.task()) == Reply(str(Code.CONFIG_UNKNOWN_KEY))
    assert "reserve" not in shop.kinds()


def test_a_plan_is_admitted_as_a_whole_or_not_at_all(shop: Any, caplog: Any) -> None:
    """The first release alone would fit, a tenth of the budget; all three do not."""
    shop.allow(lifetime={"epsilon": 7.9, "delta": shop.job.delta})
    reply = shop.ask(shop.task())
    assert reply == Reply(str(Code.BUDGET_LIFETIME))
    assert shop.kinds() == ["open", "refuse"]
    (row,) = shop.rows("refuse")
    would_be = row.body["would_be"]
    assert would_be["epsilon_now"] == 0.0
    assert would_be["epsilon_then"] == pytest.approx(8.0, rel=1e-3)
    assert would_be["cap"] == {"epsilon": 7.9, "delta": shop.job.delta}
    assert would_be["window"] == "lifetime"
    assert row.body["detail"] == (
        "it would bring ε from 0.00 to 8.00, the lifetime cap is 7.90 "
        f"(δ = {shop.job.delta:g}, unit user, GDP filter)"
    )
    assert caplog.messages[-1] == (
        f"refused job {shop.job.job_id[:8]}… step 0: {row.body['detail']} [budget-lifetime]"
    )


def test_a_second_job_is_held_to_what_the_first_still_holds(shop: Any) -> None:
    """One release of the first is out; the other two are promised to it."""
    assert shop.ask(shop.task()).code == OK
    again = other(shop.task())
    assert shop.ask(again).code == str(Code.BUDGET_LIFETIME)
    assert shop.ask(shop.task(1)).code == OK
    assert shop.ask(shop.task(2)).code == OK
    assert shop.ask(again).code == str(Code.BUDGET_LIFETIME)
    assert shop.kinds().count("admit") == 1


def test_the_cap_is_one_for_all_servers(shop: Any) -> None:
    second = SigningKey.create()
    shop.allow(servers=(shop.key.public, second.public))
    assert shop.ask(shop.task()).code == OK
    theirs = replace(shop, key=second)
    assert theirs.ask(other(shop.task(), server=second.public)).code == str(Code.BUDGET_LIFETIME)
    assert theirs.ask(other(shop.task(), shop.job.job_id, server=second.public)).code == str(
        Code.REPLAY_CONFLICT
    )


def test_a_server_that_the_policy_does_not_name_gets_nothing_not_even_a_replay(shop: Any) -> None:
    stranger = SigningKey.create()
    assert shop.ask(shop.task()).code == OK
    before = shop.kinds()
    theirs = replace(shop, key=stranger)
    foreign = other(shop.task(), server=stranger.public)
    assert theirs.ask(foreign).code == str(Code.POLICY_SERVER)
    unsigned = replace(shop.task(), signature="")
    assert code_of(shop.send(unsigned.to_records())) == str(Code.POLICY_SERVER)
    assert theirs.ask(shop.task()).code == str(Code.POLICY_SERVER)  # our job, their signature
    assert shop.kinds() == [*before, *["refuse"] * 3]


def test_a_crash_is_charged_and_one_fits(shop: Any, monkeypatch: Any) -> None:
    """The policy of a simulated client has room for the dearest release twice, and no more."""
    for code in (OK, str(Code.BUDGET_LIFETIME)):
        for step in range(2):
            shop.ask(shop.task(step))
        with monkeypatch.context() as patch:
            patch.setattr("client.training.declared", lambda *_: 1 / 0)
            assert shop.ask(shop.task(2)).code in {str(Code.INTERNAL), code}
        if code == OK:
            continue
        assert shop.ask(shop.task(2)).code == code
    assert shop.kinds().count("reserve") == 4


def test_a_replay_works_under_a_stricter_policy(shop: Any) -> None:
    first = shop.ask(shop.task())
    shop.allow(
        lifetime={"epsilon": 0.01, "delta": 1e-9}, solvers=(), modes=(), min_population=10**9
    )
    again = shop.ask(shop.task())
    assert again.head == first.head
    assert again.arrays["sum"].tobytes() == first.arrays["sum"].tobytes()
    assert shop.kinds() == ["open", "admit", "reserve", "spend"]
    assert shop.ask(shop.task(1)).code == str(Code.POLICY_MODE)


def test_a_cap_that_was_lowered_stops_a_job_under_way(shop: Any) -> None:
    assert shop.ask(shop.task()).code == OK
    shop.allow(lifetime={"epsilon": 5.0, "delta": shop.job.delta})
    assert shop.ask(shop.task(1)).code == str(Code.BUDGET_LIFETIME)
    assert shop.kinds() == ["open", "admit", "reserve", "spend", "refuse"]


def test_a_period_is_refused_by_its_own_code_and_renews(shop: Any, monkeypatch: Any) -> None:
    lifetime = {"epsilon": 20.0, "delta": shop.job.delta}
    shop.allow(lifetime=lifetime, periods=({"days": 7, "epsilon": 9.0},))
    now = {"day": "2030-05-20"}
    monkeypatch.setattr("client.ledger_store._now", lambda: f"{now['day']}T10:00:00.000+00:00")
    for step in range(3):
        assert shop.ask(shop.task(step)).code == OK
    again = other(shop.task())
    for day, code in (
        ("2030-05-26", Code.BUDGET_PERIOD),
        ("2030-05-01", Code.BUDGET_PERIOD),  # set back: the last row's day counts
        ("2030-05-27", OK),  # the eighth day
        ("2030-05-20", OK),  # replayed
    ):
        now["day"] = day
        assert shop.ask(again).code == str(code), day
    now["day"] = "2099-01-01"  # set forward: `again` still holds two releases
    third = other(shop.task(), "aa" * 16)
    assert shop.ask(third).code == str(Code.BUDGET_PERIOD)
    with Guard.open(shop.store) as guard:
        guard.close_job("ef" * 16)
    assert shop.ask(third).code == OK  # renewed early, and the lifetime is what it was
    fourth = other(shop.task(), "bb" * 16, epsilon=1.0)
    now["day"] = "2199-01-01"
    with Guard.open(shop.store) as guard:
        guard.close_job("aa" * 16)
    shop.allow(lifetime={**lifetime, "epsilon": 9.0})
    assert shop.ask(fourth).code == str(Code.BUDGET_LIFETIME)


def test_a_message_is_measured_before_it_is_read(shop: Any) -> None:
    shop.allow(max_message_bytes=20_000)
    assert shop.ask(shop.task(1)).code == OK
    huge = shop.task().to_records()
    huge["other"] = ArrayRecord({"x": Array("float32", (5000,), "numpy.ndarray", b"\0" * 20_000)})
    for message_type in ("train.step", HELLO, RECEIPT):
        assert code_of(shop.send(huge, message_type)) == str(Code.POLICY_MESSAGE)
    assert [row.body["step"] for row in shop.rows("refuse")] == [-1] * 3


def test_a_hello_tells_the_ledgers_key(shop: Any) -> None:
    answered = Hello.from_records(hello(shop).content)
    with shop.ledger() as ledger:
        assert answered.ledger_key == ledger.public_key


def test_a_receipt_is_kept_whatever_the_log_is_like(shop: Any) -> None:
    head = shop.ask(shop.task()).head
    log = shop.folder / "events.parquet"
    data = log.read_bytes()
    log.write_bytes(b"PAR1")
    assert send_receipt(shop, receipt_of(shop, head)) == OK
    assert code_of(hello(shop)) == Code.CLIENT_UNREADY
    log.write_bytes(data)
    with shop.ledger() as ledger:
        assert len(ledger.receipts()) == 1


def test_receipts_are_kept_with_the_next_task_or_alone(shop: Any) -> None:
    heads = [shop.ask(shop.task()).head]
    task = replace(shop.task(1), receipt=receipt_of(shop, heads[0]))
    heads.append(shop.ask(task).head)
    assert send_receipt(shop, receipt_of(shop, heads[1])) == OK
    assert send_receipt(shop, receipt_of(shop, heads[0])) == OK  # late: true, and not kept
    with shop.ledger() as ledger:
        assert [receipt.head for receipt in ledger.receipts()] == heads
    assert "refuse" not in shop.kinds()


def test_a_receipt_is_no_part_of_the_request(shop: Any) -> None:
    first = shop.ask(shop.task())
    again = shop.ask(replace(shop.task(), receipt=receipt_of(shop, first.head)))
    assert again.head == first.head
    assert again.arrays["sum"].tobytes() == first.arrays["sum"].tobytes()


@pytest.mark.parametrize("way", ["alone", "with a task"])
def test_a_receipt_that_is_not_about_this_ledger_changes_nothing(shop: Any, way: str) -> None:
    head = shop.ask(shop.task()).head
    stranger = SigningKey.create()
    forged = SignedHead.sign(stranger, head.client, 10**6, "ab" * 32)
    lying = head.model_copy(update={"seq": 10**6})
    bad = {
        "another key's head": receipt_of(shop, forged),
        "a head that was changed": receipt_of(shop, lying),
        "a server that did not sign": receipt_of(shop, head).model_copy(
            update={"server": stranger.public}
        ),
    }
    for receipt in bad.values():
        if way == "alone":
            code = send_receipt(shop, receipt)
        else:
            code = shop.ask(replace(shop.task(1), receipt=receipt)).code
        assert code in {str(Code.LEDGER_SIGNATURE), str(Code.POLICY_SERVER)}
    assert shop.ask(shop.task(1)).code == OK
    assert "halt" not in shop.kinds()
    with shop.ledger() as ledger:
        assert ledger.receipts() == []


def test_a_receipt_of_a_server_that_the_policy_does_not_name_is_refused(shop: Any) -> None:
    head = shop.ask(shop.task()).head
    assert send_receipt(shop, receipt_of(shop, head, SigningKey.create())) == str(
        Code.POLICY_SERVER
    )


@pytest.mark.parametrize("way", ["alone", "with a task", "with a replay"])
def test_a_ledger_that_was_rolled_back_answers_nothing_more(
    shop: Any, tmp_path: Any, way: str
) -> None:
    shop.ask(shop.task())
    backup = shutil.copytree(shop.folder, tmp_path / "backup")
    late = shop.ask(shop.task(1)).head
    shutil.rmtree(shop.folder)
    shutil.copytree(backup, shop.folder)
    receipt = receipt_of(shop, late)
    if way == "alone":
        assert send_receipt(shop, receipt) == str(Code.LEDGER_ROLLED_BACK)
    else:
        task = shop.task(1 if way == "with a task" else 0)
        assert shop.ask(replace(task, receipt=receipt)).code == str(Code.LEDGER_ROLLED_BACK)
    assert shop.rows("halt")[0].body["seq"] == late.seq
    for step in range(3):
        assert shop.ask(shop.task(step)) == Reply(str(Code.LEDGER_ROLLED_BACK))
    assert code_of(hello(shop)) == str(Code.LEDGER_ROLLED_BACK)
    assert send_receipt(shop, receipt) == str(Code.LEDGER_ROLLED_BACK)
    assert set(shop.kinds()[5:]) <= {"refuse", "halt"}


def test_a_closed_job_gets_its_replays_and_nothing_new(shop: Any) -> None:
    first = shop.ask(shop.task())
    with Guard.open(shop.store) as guard:
        guard.close_job(shop.job.job_id)
        for job_id in (shop.job.job_id, "00" * 16):
            with pytest.raises(PolicyError) as caught:
                guard.close_job(job_id)
            assert caught.value.code is Code.JOB_CLOSED
    assert shop.ask(shop.task()).head == first.head
    assert shop.ask(shop.task(1)).code == str(Code.JOB_CLOSED)
    assert shop.kinds() == ["open", "admit", "reserve", "spend", "close", "refuse"]
    smaller = other(shop.task(), epsilon=6.0)
    assert shop.ask(smaller).code == OK  # what the closed job held is free


def test_exact_sums_need_no_budget_and_leave_none(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> None:
    run = prepare_run(mode="none", no_privacy=True, fixed_noise=False)
    shop = open_shop(run)
    first, again = shop.ask(shop.task()), shop.ask(shop.task())
    assert first.code == again.code == OK  # computed again: exact sums are not kept
    assert np.array_equal(first.arrays["sum"], again.arrays["sum"])
    assert shop.kinds() == ["open", "admit", "reserve", "spend"]
    shop.allow(modes=("none", "local"), lifetime={"epsilon": 9.0, "delta": 0.01})
    private = other(shop.task(), mode="local", epsilon=1.0, delta=1e-3)
    assert shop.ask(private).code == str(Code.BUDGET_LIFETIME)


def test_a_sampled_job_fits_a_renyi_policy_and_not_a_gdp_one(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> None:
    settings = {"sampling_rate": 0.1, "local_steps": 8}
    shop = open_shop(prepare_run(solver="dpsgd", rounds=1, epsilon=2.0, settings=settings))
    order = shop.job.renyi_order
    assert isinstance(order, int)
    assert shop.policy.renyi_order == order
    shop.allow(renyi_order=None, lifetime={"epsilon": 2.5, "delta": shop.job.delta})
    assert shop.ask(shop.task()).code == str(Code.BUDGET_LIFETIME)
    shop.allow(renyi_order=order)
    assert shop.ask(shop.task()).code == OK
    shop.allow(max_sampling_rate=0.05)
    assert shop.ask(shop.task(1)).code == str(Code.POLICY_SAMPLING)


def test_every_job_of_a_job_id_is_one_job(shop: Any) -> None:
    """Whatever field a server changes, it is another job under an id that is taken."""
    assert shop.ask(shop.task()).code == OK
    changes: dict[str, Any] = {
        "epsilon": 7.0, "delta": shop.job.delta / 2, "clients": 4, "population": 121,
        "signal": 80.0, "settings": {"rounds": 1, "embedding_dim": 4}, "evaluation_share": 0.1,
        "renyi_order": 5, "seed": 8,
    }  # fmt: skip
    assert set(changes) < set(Job.model_fields)
    for name, value in changes.items():
        assert shop.ask(other(shop.task(1), shop.job.job_id, **{name: value})).code == str(
            Code.REPLAY_CONFLICT
        ), name
    assert shop.kinds().count("reserve") == 1
