"""A training over real clients: its job is made once, and what ended it can be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import Message

from common.errors import Code, ConfigError, RunError
from common.privacy.roster import Terms
from common.protocol import HELLO, STEP
from server.app import read_job
from server.keys import home_key
from server.registry import Registry
from server.roster import gather
from server.training.folder import OK, Outcome
from server.training.locks import APP_LOCK, alone
from tests.conftest import RecordingGrid
from tests.server.tampering import Seen, on_step, silence

Made = Callable[..., Any]


def outcome(trained: Any) -> Outcome:
    found = Outcome.of_run(trained.folder)
    assert found is not None
    return found


def test_the_job_is_made_of_what_clients_declare_and_the_model_comes_of_it(made: Made) -> None:
    trained = made(evaluation_share=0.1)
    trained.run(run_id=11)
    job = read_job(trained.folder)
    prepared = read_job(trained.shops.path)
    assert job.server == home_key(trained.home).public
    assert job.job_id != prepared.job_id
    same = {"job_id": job.job_id, "evaluation_share": 0.1}
    assert job == prepared.model_copy(update=same)
    records = Registry(trained.folder / "server").rounds()
    assert [record.answered for record in records] == [("shop-1", "shop-2", "shop-3")] * 4
    assert outcome(trained) == Outcome(run_id=11, code=OK, version=f"0001-{job.job_id[:8]}")


def test_a_second_server_app_goes_on_with_the_same_job(made: Made, spent: Made) -> None:
    trained = made()
    with pytest.raises(KeyboardInterrupt):
        trained.run(observer=Seen(stop_after=1))
    assert Outcome.of_run(trained.folder) is None
    job = read_job(trained.folder)
    trained.run(run_id=12)
    assert read_job(trained.folder) == job
    assert [r.step for r in Registry(trained.folder / "server").rounds()] == [0, 1, 2]
    assert all(kinds.count("spend") == 3 for kinds in spent(trained.shops.path).values())
    assert outcome(trained).run_id == 12


def test_too_few_clients_end_it_before_there_is_a_job(made: Made, spent: Made) -> None:
    trained = made(quorum=3)

    def deaf(asked: Message, reply: Message) -> Message | None:
        return None if asked.metadata.dst_node_id == 3 else reply

    trained.grid.tampering = deaf
    with pytest.raises(RunError):
        trained.run()
    found = outcome(trained)
    assert (found.code, found.where) == (Code.RUN_QUORUM, "start")
    assert "2 clients can take part, 3 are needed (node 3: no-answer)" in found.message
    assert not (trained.folder / "job.json").exists()
    assert all(kinds in ([], ["open"]) for kinds in spent(trained.shops.path).values())
    trained.grid.tampering = lambda _, reply: reply
    trained.run()
    assert outcome(trained).code == OK


def test_more_clients_than_there_are_members_are_not_waited_for(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = made(quorum=3)
    known = {"shop-1": None, "shop-2": None}
    monkeypatch.setattr("server.training.conduct.members", lambda _: known)
    with pytest.raises(ConfigError):
        trained.run()
    found = outcome(trained)
    assert (found.code, found.where, found.passes) == (Code.CONFIG_INVALID, "quorum", False)
    known["shop-3"] = None
    trained.run()
    assert outcome(trained).code == OK


def test_a_round_without_its_quorum_ends_it_with_the_code(made: Made) -> None:
    trained = made(quorum=3)
    trained.grid.tampering = on_step(silence, 3, 1)
    with pytest.raises(RunError):
        trained.run()
    assert outcome(trained).code == Code.RUN_QUORUM
    assert "shop-2: no-answer" in outcome(trained).message


@pytest.mark.parametrize(
    ("epsilon", "silent", "passes"),
    [(12.0, (), False), (12.0, (2, 3, 4), True)],
    ids=["refusals", "silence"],
)
def test_silence_may_pass_by_itself_and_a_refusal_takes_a_person(
    made: Made, epsilon: float, silent: tuple[int, ...], passes: bool
) -> None:
    trained = made(epsilon=epsilon)

    def deaf(asked: Message, reply: Message) -> Message | None:
        is_step = asked.metadata.message_type == STEP
        return None if is_step and asked.metadata.dst_node_id in silent else reply

    trained.grid.tampering = deaf
    with pytest.raises(RunError):
        trained.run()
    assert outcome(trained).code == Code.RUN_QUORUM
    assert outcome(trained).passes is passes
    assert outcome(trained).error.code is Code.RUN_QUORUM


def test_a_client_that_comes_late_takes_part_in_the_next_round_it_can(made: Made) -> None:
    trained = made(delta=0.004)
    late: list[Message] = []

    def slow(asked: Message, reply: Message) -> Message | None:
        if asked.metadata.message_type == HELLO and asked.metadata.dst_node_id == 3:
            late.append(reply)
            return None
        return reply

    trained.grid.tampering = slow
    trained.run()
    answered = [record.answered for record in Registry(trained.folder / "server").rounds()]
    assert answered == [("shop-1", "shop-3"), *[("shop-1", "shop-2", "shop-3")] * 2]
    assert late


def test_an_error_that_nobody_foresaw_has_its_type_alone(made: Made) -> None:
    trained = made()

    def burst(asked: Message, reply: Message) -> Message:
        raise ValueError("user 4711")

    trained.grid.tampering = on_step(burst, 2, 0)
    with pytest.raises(ValueError, match="4711"):
        trained.run()
    assert outcome(trained).code == Code.INTERNAL
    assert "4711" not in outcome(trained).model_dump_json()


def test_two_server_apps_do_not_work_in_one_folder(made: Made, monkeypatch: Any) -> None:
    trained = made()
    monkeypatch.setattr("server.training.conduct._PATIENCE_SECONDS", 0.0)
    with alone(trained.folder, APP_LOCK), pytest.raises(RunError) as caught:
        trained.run()
    assert caught.value.code is Code.RUN_IN_USE
    assert outcome(trained).code == Code.RUN_IN_USE


def test_without_a_catalogue_there_is_no_job(made: Made) -> None:
    trained = made()
    (trained.home / "catalogue.json").unlink()
    with pytest.raises(ConfigError):
        trained.run()
    assert outcome(trained).code == Code.CONFIG_NOT_FOUND


def test_secure_sums_need_the_roster(made: Made) -> None:
    trained = made(mode="distributed")
    with pytest.raises(RunError):
        trained.run()
    assert outcome(trained).code == Code.RUN_MISMATCH
    assert json.loads((trained.folder / "outcome.json").read_text())["remedy"]


def test_secure_sums_are_among_the_roster_that_was_copied(
    summing: Any,
) -> None:
    """The threshold of the request decides how many have to be there, then and later."""
    summing.ask(mode="distributed", threshold=3, colluders=1, delta=0.004)
    summing.grid.tampering = on_hello(silence, 3)
    summing.run()
    job = read_job(summing.folder)
    assert job.terms == Terms(4, 3, 1)
    assert job.population == sum(m.population for m in declared(summing) if m.name != "shop-2")
    first, *later = Registry(summing.folder / "server").rounds()
    assert first.answered == ("shop-1", "shop-3", "shop-4")
    assert first.refused == {"node 3": "no-answer"}
    assert all(len(record.answered) == 4 for record in later)
    assert outcome(summing).code == OK


def test_a_sum_with_too_few_makes_no_job(summing: Any) -> None:
    summing.ask(mode="distributed", threshold=4, colluders=1)
    summing.grid.tampering = on_hello(silence, 3)
    with pytest.raises(RunError):
        summing.run()
    assert outcome(summing).code == Code.RUN_QUORUM
    assert outcome(summing).passes
    assert not (summing.folder / "job.json").exists()


def test_a_sum_that_everybody_refuses_takes_a_person(summing: Any) -> None:
    summing.ask(mode="distributed", threshold=3, colluders=1, epsilon=25.0, delta=0.004)
    with pytest.raises(RunError):
        summing.run()
    assert outcome(summing).code == Code.RUN_QUORUM
    assert "shop-1 at keys: budget-lifetime" in outcome(summing).message
    assert not outcome(summing).passes


def on_hello(tamper: Any, node: int) -> Any:
    """Tamper with one node's first answer about itself."""
    left = [node]

    def apply(asked: Message, reply: Message) -> Message | None:
        meta = asked.metadata
        if meta.message_type == HELLO and meta.dst_node_id in left:
            left.clear()
            return tamper(asked, reply)
        return reply

    return apply


def declared(trained: Any) -> Any:
    """What every shop says of itself."""
    return gather(RecordingGrid(trained.shops.path), read_job(trained.folder))
