"""Secure sums at the server: who is lost where, what the total is of, and what is never asked."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, RunError
from common.protocol import OK, SumCall, SumReply
from common.secure_sum.messages import STAGES, Stage
from server.sessions import BEGUN, SUMMED, Sessions
from tests.server.parties import (
    Federation,
    PartyGrid,
    Tamper,
    change,
    check_total,
    lose,
    total_of,
)
from tests.server.real_sums import COUNTED

Make = Callable[..., Federation]
NO_INPUTS: dict[str, Any] = {}


def asked_at(made: Federation, stage: Stage) -> list[str]:
    return [
        client.name
        for client in made.grid.clients.values()
        if any(call.stage == stage for call in client.asked)
    ]


def test_the_total_is_exactly_that_of_the_words(federation: Make) -> None:
    made = federation()
    summed = total_of(made)
    check_total(made, summed, made.names)
    assert summed.refused == {}
    assert [record.outcome for record in summed.sessions] == [SUMMED]
    for stage in STAGES:
        assert asked_at(made, stage) == made.names


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("lost", [1, 2])
def test_whoever_is_lost_down_to_the_threshold_the_total_is_of_who_survived(
    federation: Make, stage: Stage, lost: int
) -> None:
    made = federation(7, 5)
    gone = made.names[1 : 1 + lost]
    made.grid.tampering = lose(dict.fromkeys(gone, stage))
    summed = total_of(made)
    left = [name for name in made.names if name not in gone]
    check_total(made, summed, made.names if COUNTED[stage] else left)
    assert summed.refused == ({} if COUNTED[stage] else dict.fromkeys(gone, "no-answer"))
    (record,) = summed.sessions
    assert {n: (d.stage, d.code) for n, d in record.dropped.items()} == dict.fromkeys(
        gone, (stage, "no-answer")
    )
    after = STAGES[STAGES.index(stage) + 1 :]
    assert all(asked_at(made, later) == left for later in after)


@pytest.mark.parametrize("stage", STAGES)
def test_below_the_threshold_a_session_ends_without_a_total(federation: Make, stage: Stage) -> None:
    made = federation(7, 5)
    gone = made.names[:3]
    made.grid.tampering = lose(dict.fromkeys(gone, stage))
    with pytest.raises(RunError) as caught:
        total_of(made, attempts=1)
    assert caught.value.code is Code.RUN_QUORUM
    assert f"ended at stage {stage}, sum-threshold: 4 of 7" in caught.value.message
    assert all(f"{name} at {stage}: no-answer" in caught.value.message for name in gone)
    nothing = "Nothing was spent" in caught.value.remedy
    assert nothing is (stage in {"keys", "shares"})
    (record,) = Sessions(made.folder).of(0)
    assert (record.outcome, record.stage) == ("sum-threshold", stage)
    for later in STAGES[STAGES.index(stage) + 1 :]:
        assert asked_at(made, later) == []


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_whoever_is_lost_wherever(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    clients = data.draw(st.integers(2, 7))
    threshold = data.draw(st.integers(clients // 2 + 1, clients))
    if 2 * threshold <= clients + 1:
        threshold += 1
    made = Federation.of(tmp_path_factory.mktemp("sums"), clients, threshold)
    fates = data.draw(
        st.lists(st.sampled_from([None, *STAGES]), min_size=clients, max_size=clients)
    )
    lost = {name: fate for name, fate in zip(made.names, fates, strict=True) if fate}
    made.grid.tampering = lose(lost)
    if clients - len(lost) < threshold:
        with pytest.raises(RunError):
            total_of(made, attempts=1)
        made.grid.tampering = lambda *_: _[-1]
        check_total(made, total_of(made), made.names)
        return
    early = {name for name, stage in lost.items() if not COUNTED[stage]}
    check_total(made, total_of(made), [name for name in made.names if name not in early])


def test_a_session_that_fails_is_followed_by_one_with_everything_new(federation: Make) -> None:
    made = federation()
    gone = lose({"shop-1": "masked", "shop-2": "masked"})
    made.grid.tampering = lambda name, call, reply: (
        gone(name, call, reply) if call.session == 0 else reply
    )
    summed = total_of(made)
    check_total(made, summed, made.names)
    assert [record.outcome for record in summed.sessions] == ["sum-threshold", SUMMED]
    asked = made.client("shop-3").asked
    assert [call.session for call in asked] == [0, 0, 0, 1, 1, 1, 1, 1]
    assert len({call.context for call in asked}) == 2
    keys = [call.body for call in asked if call.stage == "shares"]
    assert keys[0] != keys[1]
    everything = sum(len(client.asked) for client in made.grid.clients.values())
    assert summed.bytes_down > everything * 1000


def test_attempts_are_as_many_as_were_allowed(federation: Make) -> None:
    made = federation()
    made.grid.tampering = lose({"shop-1": "shares", "shop-2": "shares"})
    with pytest.raises(RunError, match="no total in 3 sessions"):
        total_of(made, attempts=3)
    assert [record.session for record in Sessions(made.folder).of(0)] == [0, 1, 2]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("nth", [0, 2])
def test_a_server_that_is_killed_never_uses_a_number_again(
    federation: Make, stage: Stage, nth: int
) -> None:
    made = federation()
    calls = []

    def kill(call: SumCall) -> None:
        calls.append(call)
        if call.session == 0 and [c.stage for c in calls].count(stage) == nth + 1:
            raise KeyboardInterrupt

    made.grid.before = kill
    with pytest.raises(KeyboardInterrupt):
        total_of(made)
    made.grid.before = lambda _: None
    summed = total_of(made)
    check_total(made, summed, made.names)
    assert [record.outcome for record in summed.sessions] == [BEGUN, SUMMED]
    assert {call.session for call in made.client("shop-4").asked[-5:]} == {1}


def test_too_few_clients_are_not_even_asked(federation: Make) -> None:
    made = federation()
    sums = made.sums()
    few = replace(sums.asking, members=made.members[:3])
    with pytest.raises(RunError, match="3 of 5 clients can be asked") as caught:
        replace(sums, asking=few).sum(0, NO_INPUTS, made.release)
    assert caught.value.code is Code.RUN_QUORUM
    assert all(not client.asked for client in made.grid.clients.values())
    assert Sessions(made.folder).of(0) == ()


def test_a_refusal_is_a_drop_out_with_its_code(federation: Make) -> None:
    made = federation()
    made.grid.tampering = change("keys", ["shop-2"], lambda _: SumReply("budget-lifetime"))
    summed = total_of(made)
    check_total(made, summed, ["shop-1", "shop-3", "shop-4", "shop-5"])
    assert summed.refused == {"shop-2": "budget-lifetime"}


def test_inputs_travel_at_one_stage_and_are_in_memory_once(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, records = federation(), []
    send = PartyGrid.send_and_receive

    def watch(self: PartyGrid, messages: Any, **options: Any) -> Any:
        messages = list(messages)
        records.append([message.content["inputs"] for message in messages])
        return send(self, messages, **options)

    monkeypatch.setattr(PartyGrid, "send_and_receive", watch)
    inputs = {"item_table": np.ones((9, 3), np.float32)}
    made.sums().sum(0, inputs, made.release)  # type: ignore[arg-type]
    assert [{len(record) for record in stage} for stage in records] == [{0}, {0}, {1}, {0}, {0}]
    assert all(len({id(record) for record in stage}) == 1 for stage in records)


def peak(made: Federation) -> int:
    """Bytes at the highest, over what the clients hold before."""
    tracemalloc.start()
    try:
        total_of(made)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_clients(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    few, many = (
        Federation.of(tmp_path_factory.mktemp("sums"), n, n - 1, items=250_000) for n in (4, 16)
    )
    one = few.client("shop-1").words.nbytes
    assert peak(many) < peak(few) + 2 * one


def test_silence_of_all_is_no_total(federation: Make) -> None:
    made = federation()
    silent: Tamper = lambda *_: None  # noqa: E731
    made.grid.tampering = silent
    with pytest.raises(RunError, match="0 of 5 clients are left"):
        total_of(made)


def test_an_honest_answer_is_ok(federation: Make) -> None:
    """The tests above change answers that are right before."""
    made = federation()
    codes: list[str] = []
    made.grid.tampering = lambda _, __, reply: codes.append(reply.code) or reply  # type: ignore[func-returns-value]
    total_of(made)
    assert set(codes) == {OK}
