"""Secure sums whose server is killed again and again: what its programs may cost clients."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.errors import Code, RunError
from common.protocol import SumCall
from common.secure_sum.messages import STAGES, Stage
from server.quorum import QuorumError
from server.repeats import REPEATS
from server.sessions import SUMMED, SessionRecord, Sessions
from tests.server.parties import Federation, check_total, lose, total_of

Make = Callable[..., Federation]


def kill_at(stage: Stage) -> Callable[[SumCall], None]:
    def kill(call: SumCall) -> None:
        if call.stage == stage:
            raise KeyboardInterrupt

    return kill


def charged_for(made: Federation, name: str) -> int:
    """Sessions whose words a client was asked for."""
    return sum(call.stage == "masked" for call in made.client(name).asked)


def costing(made: Federation, *steps: int) -> None:
    """Sessions that cost clients something, of other steps."""
    sessions = Sessions(made.folder)
    for step in steps:
        sessions.end(SessionRecord(step=step, session=sessions.begin(step), stage="reveal"))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_server_that_is_killed_begins_no_more_sessions_than_attempts(
    federation: Make, stage: Stage, attempts: int
) -> None:
    made = federation()
    made.grid.before = kill_at(stage)
    for _ in range(attempts):
        with pytest.raises(KeyboardInterrupt):
            total_of(made, attempts=attempts, resumed=0)
    made.grid.before = lambda _: None
    for _ in range(3):
        with pytest.raises(QuorumError, match=f"{attempts} sessions of this step") as caught:
            total_of(made, attempts=attempts, resumed=0)
    assert caught.value.code is Code.RUN_QUORUM
    assert not caught.value.passes
    assert all(charged_for(made, name) <= attempts for name in made.names)
    assert len(Sessions(made.folder).of(0)) == attempts


def test_a_person_goes_on(federation: Make) -> None:
    made = federation()
    made.grid.before = kill_at("survivors")
    for resumed in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            total_of(made, attempts=1, resumed=resumed)
        with pytest.raises(QuorumError):
            total_of(made, attempts=1, resumed=resumed)
    made.grid.before = lambda _: None
    summed = total_of(made, attempts=1, resumed=2)
    check_total(made, summed, made.names)
    assert [(one.outcome == SUMMED, one.resumed) for one in summed.sessions] == [
        (False, 0), (False, 1), (True, 2)
    ]  # fmt: skip
    assert charged_for(made, "shop-1") == 3


def test_sessions_that_cost_nothing_are_tried_without_end(federation: Make) -> None:
    made = federation()
    made.grid.tampering = lose({"shop-1": "shares", "shop-2": "shares"})
    for _ in range(3):
        with pytest.raises(QuorumError) as caught:
            total_of(made, resumed=0)
        assert caught.value.passes
    made.grid.tampering = lambda *given: given[-1]
    check_total(made, total_of(made, resumed=0), made.names)


def test_repeats_of_all_steps_count(federation: Make) -> None:
    made = federation()
    costing(made, *(step for step in range(1, 1 + REPEATS) for _ in range(2)))
    made.grid.before = kill_at("masked")
    with pytest.raises(KeyboardInterrupt):  # the first of this step is no repeat
        total_of(made, resumed=0)
    made.grid.before = lambda _: None
    with pytest.raises(QuorumError):
        total_of(made, resumed=0)
    check_total(made, total_of(made, resumed=1), made.names)


def test_a_run_that_a_person_starts_each_time_counts_its_own_attempts(federation: Make) -> None:
    made = federation()
    made.grid.tampering = lose({"shop-1": "masked", "shop-2": "masked"})
    for _ in range(3):
        with pytest.raises(RunError, match="no total in 1 sessions"):
            total_of(made, attempts=1)
    assert charged_for(made, "shop-3") == 3
