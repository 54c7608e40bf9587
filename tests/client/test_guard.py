"""What a client lets a server have: replay, refusals, and nothing reserved by mistake."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import RecordDict

from common.errors import Code
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING
from common.privacy.spending import spent
from common.protocol import HELLO, OK, Reply, Task

RELEASED = ["open", "admit", "reserve", "spend"]


def changed(task: Task, **fields: Any) -> Task:
    return replace(task, job=task.job.model_copy(update=fields))


def assert_refused(
    shop: Any,
    task: Task,
    code: Code,
    *,
    before: list[str] | None = None,
    told: Code | None = None,
) -> None:
    """A code and nothing else; a `refuse` row, and nothing reserved or spent."""
    expected = (shop.kinds() or ["open"]) if before is None else before
    reply = shop.ask(task)
    assert (reply.code, reply.arrays, reply.head) == (str(told or code), {}, None)
    assert shop.kinds() == [*expected, "refuse"]
    row = shop.rows("refuse")[-1]
    assert (row.body["job_id"], row.body["step"]) == (task.job.job_id, task.step)
    assert row.body["code"] == str(code)


def test_a_release_is_admitted_reserved_and_spent_before_it_leaves(shop: Any) -> None:
    reply = shop.ask(shop.task())
    assert reply.code == OK
    assert shop.kinds() == RELEASED
    admit, reserve, spend = shop.rows()[1:]
    assert admit.body["plan"] == shop.schedule.plan.model_dump(mode="json")
    assert admit.body["neighbouring"] == NEIGHBOURING
    assert admit.body["accountant"] == ACCOUNTANT
    assert admit.body["unit"] == "user"
    assert reserve.body["event"]["kind"] == "gaussian-sum"
    assert spend.body["reservation"] == reserve.seq
    assert admit.body["server"] == shop.job.server
    assert (reply.head.seq, reply.head.hash) == (spend.seq, spend.hash)
    with shop.ledger() as ledger:
        reply.head.check(ledger.public_key)


def test_noise_from_a_seed_is_marked_where_it_is_charged(
    shop: Any, prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> None:
    secret = open_shop(prepare_run("secret", fixed_noise=False))
    exact = open_shop(prepare_run("exact", mode="none", no_privacy=True, fixed_noise=False))
    for asked, marked in ((shop, True), (secret, False), (exact, False)):
        assert asked.ask(asked.task()).code == OK
        (row,) = asked.rows("reserve")
        assert row.body.get("reproducible", False) is marked
        assert spent(asked.rows(), 1e-5).reproducible_noise is marked
    assert str(spent(shop.rows(), 1e-5)) == "no privacy guarantee"


def test_no_row_confirms_a_guess_at_the_log(shop: Any) -> None:
    shop.ask(shop.task())
    text = "".join(row.model_dump_json() for row in shop.rows())
    assert shop.store.snapshot not in text
    for name in ("events.parquet", "heldout.parquet"):
        assert hashlib.sha256((shop.folder / name).read_bytes()).hexdigest() not in text


def test_a_refusal_quotes_little_and_names_no_place(shop: Any) -> None:
    """Settings of a job may be long, or hold what no UTF-8 can write."""
    for value in ("x" * 60_000, "\\ud800" * 9_000):
        records = shop.task().to_records()
        job = shop.job.model_dump_json().replace('"settings":{', f'"settings":{{"{value}":1,', 1)
        records["task"]["job"] = job
        shop.send(records)
        detail = shop.rows("refuse")[-1].body["detail"]
        assert 0 < len(detail) <= 500
    records["task"]["job"] = shop.job.model_dump_json().replace(shop.job.job_id, "a" * 3_000_000, 1)
    assert Reply.from_records(shop.send(records).content).code == str(Code.PROTOCOL_INVALID)
    assert (shop.folder / "ledger.sqlite").stat().st_size < 100_000
    shop.ask(shop.task())
    grow_log(shop)
    shop.ask(shop.task(1))
    assert str(shop.folder) not in "".join(row.model_dump_json() for row in shop.rows())


def test_the_same_request_returns_the_same_bytes_and_costs_nothing(shop: Any) -> None:
    first, second = shop.ask(shop.task()), shop.ask(shop.task())
    assert first.head == second.head
    assert first.arrays["sum"].tobytes() == second.arrays["sum"].tobytes()
    assert shop.kinds() == RELEASED


def test_replay_works_after_the_log_has_grown(shop: Any) -> None:
    first = shop.ask(shop.task())
    grow_log(shop)
    assert shop.ask(shop.task()).arrays["sum"].tobytes() == first.arrays["sum"].tobytes()
    assert shop.kinds() == RELEASED


def test_noise_of_two_clients_differs(run_folder: Any, open_shop: Callable[..., Any]) -> None:
    one, two = (open_shop(run_folder, position) for position in (0, 1))
    sums = [asked.ask(asked.task()).arrays["sum"] for asked in (one, two)]
    assert np.std(sums[0] - sums[1]) > 0.5 * shop_noise(one)


def shop_noise(shop: Any) -> float:
    release = shop.schedule.plan.releases[0]
    return float(release.noise_multiplier * release.clip_norm)


@pytest.mark.parametrize("step", [0, 1])
def test_another_request_for_a_step_that_was_answered_is_refused(shop: Any, step: int) -> None:
    shop.ask(shop.task(step))
    before = shop.kinds()
    assert_refused(shop, changed(shop.task(step), seed=99), Code.REPLAY_CONFLICT, before=before)
    if step == 1:
        inputs = shop.inputs(1)
        inputs["basis"] = inputs["basis"][::-1].copy()
        assert_refused(shop, replace(shop.task(1), inputs=inputs), Code.REPLAY_CONFLICT)


def test_a_job_that_changes_between_its_steps_is_refused(shop: Any) -> None:
    shop.ask(shop.task(0))
    assert_refused(shop, changed(shop.task(1), seed=99), Code.REPLAY_CONFLICT, before=RELEASED)


def test_a_log_that_changes_between_two_steps_is_refused(shop: Any) -> None:
    shop.ask(shop.task(0))
    grow_log(shop)
    refused_for_its_log(shop)


def refused_for_its_log(shop: Any) -> None:
    """The server is not told that the log changed."""
    told = Code.CLIENT_UNREADY
    assert_refused(shop, shop.task(1), Code.SNAPSHOT_CHANGED, before=RELEASED, told=told)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "events.parquet").write_bytes(b"PAR1"),
        lambda folder: (folder / "events.parquet").unlink(),
        lambda folder: with_item(folder / "events.parquet", "unheard of"),
        lambda folder: pd.DataFrame({"a": [1]}).to_parquet(folder / "events.parquet"),
    ],
)
def test_what_is_wrong_with_its_data_stays_at_the_client(
    shop: Any, spoil: Callable[[Any], Any], caplog: Any
) -> None:
    task = shop.task()
    spoil(shop.folder)
    assert shop.ask(task) == Reply(str(Code.CLIENT_UNREADY))
    asked = shop.send(RecordDict(), HELLO)
    assert Reply.from_records(asked.content) == Reply(str(Code.CLIENT_UNREADY))
    assert str(shop.folder) in caplog.text


def with_item(path: Any, item: str) -> None:
    table = pd.read_parquet(path)
    table.assign(item_id=[item, *table["item_id"][1:]]).to_parquet(path, index=False)


def test_held_out_items_belong_to_the_snapshot(shop: Any) -> None:
    shop.ask(shop.task(0))
    path = shop.folder / "heldout.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path, index=False)
    refused_for_its_log(shop)


def grow_log(shop: Any) -> None:
    path = shop.folder / "events.parquet"
    events = pd.read_parquet(path)
    pd.concat([events, events.iloc[:1]]).to_parquet(path, index=False)


def test_another_job_is_admitted_beside_the_first(shop: Any) -> None:
    shop.allow_much()
    shop.ask(shop.task())
    assert shop.ask(changed(shop.task(), job_id="ef" * 16)).code == OK
    assert shop.kinds() == [*RELEASED, "admit", "reserve", "spend"]


def bad(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Callable[[Task], Task]:
    return lambda task: replace(task, inputs={**task.inputs, name: make(task.inputs[name])})


def spoiled(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def put(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[-1] = value
        return array

    return put


BAD_ARRAYS = {
    "inf": bad("basis", spoiled(np.inf)),
    "minus inf": bad("item_weight", spoiled(-np.inf)),
    "nan": bad("basis", spoiled(np.nan)),
    "3e38": bad("basis", spoiled(3e38)),
    "huge weight": bad("item_weight", spoiled(3e38)),
    "zero": bad("item_weight", spoiled(0.0)),
    "all zeros": bad("item_weight", np.zeros_like),
    "denormal": bad("item_weight", spoiled(1e-42)),
    "negative": bad("item_weight", spoiled(-1.0)),
    "shape": bad("basis", lambda a: a[:, :-1].copy()),
    "rank": bad("basis", lambda a: a.ravel().copy()),
    "float64": bad("basis", lambda a: a.astype(np.float64)),
    "other byte order": bad("basis", lambda a: a.astype(">f4")),
    "integers": bad("item_weight", lambda a: a.astype(np.int32)),
    "complex": bad("basis", lambda a: a.astype(np.complex64)),
    "text": bad("basis", lambda a: np.array(["a", "b"])),
    "missing": lambda task: replace(task, inputs={"basis": task.inputs["basis"]}),
    "extra": lambda task: replace(task, inputs={**task.inputs, "more": np.ones(3, np.float32)}),
    "renamed": lambda task: replace(
        task, inputs={"Basis": task.inputs["basis"], "item_weight": task.inputs["item_weight"]}
    ),
    "none": lambda task: replace(task, inputs={}),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_bad_array_costs_nothing(shop: Any, name: str) -> None:
    assert_refused(shop, BAD_ARRAYS[name](shop.task(1)), Code.INBOUND_ARRAY, before=["open"])


def test_arrays_where_none_are_asked_for_are_refused(shop: Any) -> None:
    task = shop.task(0, inputs={"basis": np.ones((2, 2), np.float32)})
    assert_refused(shop, task, Code.INBOUND_ARRAY, before=["open"])


BAD_JOBS = {
    "catalogue": ({"catalogue_version": "f" * 64}, Code.CATALOGUE_MISMATCH),
    "fewer items": ({"n_items": 59}, Code.CATALOGUE_MISMATCH),
    "more items": ({"n_items": 61}, Code.CATALOGUE_MISMATCH),
    "delta": ({"delta": 1 / 48}, Code.POLICY_DELTA),
    "delta for all": ({"delta": 0.015}, Code.POLICY_DELTA),
    "no delta": ({"delta": 0.0}, Code.PLAN_DELTA),
    "epsilon": ({"epsilon": 0.0}, Code.PLAN_EPSILON),
    "negative epsilon": ({"epsilon": -1.0}, Code.PLAN_EPSILON),
    "interaction": ({"unit": "interaction"}, Code.POLICY_UNIT),
    "mode none": ({"mode": "none", "epsilon": None, "delta": 0.0}, Code.POLICY_MODE),
    "mode none with epsilon": ({"mode": "none"}, Code.POLICY_MODE),
    "no epsilon": ({"epsilon": None}, Code.PLAN_MODE),
    "solver": ({"solver": "os:system"}, Code.POLICY_MODEL),
    "setting": ({"settings": {"unheard_of": 1}}, Code.CONFIG_UNKNOWN_KEY),
}


@pytest.mark.parametrize("name", BAD_JOBS)
def test_a_job_that_this_client_does_not_take_part_in(shop: Any, name: str) -> None:
    fields, code = BAD_JOBS[name]
    assert_refused(shop, changed(shop.task(), **fields), code, before=["open"])


def test_steps_and_sessions_that_the_plan_does_not_have(shop: Any) -> None:
    """A second session would be a second release of one step, beyond the admitted plan."""
    steps = len(shop.schedule.steps)
    assert_refused(shop, replace(shop.task(), step=steps), Code.PROTOCOL_INVALID, before=["open"])
    assert_refused(shop, replace(shop.task(), step=2**40), Code.PROTOCOL_INVALID)
    assert_refused(shop, shop.task(session=1), Code.PROTOCOL_INVALID)


def test_exact_sums_leave_only_if_the_owner_says_so(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> None:
    run = prepare_run(mode="none", no_privacy=True, fixed_noise=False)
    shop = open_shop(run, deployed=True)
    assert shop.ask(shop.task()).code == OK
    assert shop.rows("reserve")[0].body["event"]["kind"] == "no-privacy"
    toml = shop.folder / "client.toml"
    toml.write_text(toml.read_text().replace("no_privacy = true", ""))
    assert shop.ask(changed(shop.task(), job_id="ef" * 16)).code == str(Code.POLICY_MODE)


def test_a_ledger_of_another_client_or_data_set_answers_with_a_code(shop: Any) -> None:
    shop.ask(shop.task())
    toml = shop.folder / "client.toml"
    text = toml.read_text()
    for old, new in ((shop.store.settings.dataset_id, "0" * 32), ('"shop-1"', '"shop-9"')):
        toml.write_text(text.replace(old, new))
        assert shop.ask(shop.task()) == Reply(str(Code.LEDGER_FOREIGN))
    toml.write_text(text)
    assert shop.kinds() == RELEASED


def test_a_broken_ledger_answers_with_a_code(shop: Any) -> None:
    shop.ask(shop.task())
    for leftover in shop.folder.glob("ledger.sqlite-*"):
        leftover.unlink()
    (shop.folder / "ledger.sqlite").write_bytes(b"garbage" * 1000)
    assert shop.ask(shop.task()) == Reply(str(Code.LEDGER_BROKEN))


def test_a_failed_computation_stays_reserved_and_the_retry_is_charged(
    shop: Any, monkeypatch: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("client.training.declared", lambda *_: 1 / 0)
        assert shop.ask(shop.task()) == Reply(str(Code.INTERNAL))
    assert shop.kinds() == ["open", "admit", "reserve", "refuse"]
    assert shop.rows("refuse")[0].body["detail"] == "ZeroDivisionError"
    assert shop.ask(shop.task()).code == OK
    assert shop.kinds() == ["open", "admit", "reserve", "refuse", "reserve", "spend"]
