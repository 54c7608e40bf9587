"""Mode `distributed` over real clients: exact totals, drop-outs, kills, charges, receipts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from common.errors import Code, RunError
from common.privacy.shared_noise import natural, noise_std_of
from common.protocol import OK, SUM, SumCall, SumReply
from common.schedule import Schedule, schedule_of
from common.secure_sum.messages import STAGES, Stage
from common.secure_sum.states import Masking
from server.app import read_job, read_roster
from server.registry import Registry
from server.sessions import BEGUN, SUMMED, Sessions
from tests.server.real_sums import COUNTED, MARKET, SHOPS, Grid, killed, nodes_of, of_stage, silence
from tests.server.tampering import Seen, rounds


class Inside:
    """What clients masked and what came of it, looked at in the process that runs them all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.masked: list[tuple[Any, Any]] = []
        self.totals: list[Any] = []
        apply, advance = Masking.apply, Schedule.advance

        def look(masking: Masking, words: Any) -> Any:
            found = apply(masking, words)
            self.masked.append((words.copy(), found))
            return found

        def watch(schedule: Schedule, step: int, state: Any, total: Any) -> Any:
            self.totals.append(total)
            return advance(schedule, step, state, total)

        monkeypatch.setattr(Masking, "apply", look)
        monkeypatch.setattr(Schedule, "advance", watch)

    def sum_of(self, grid: Any, step: int, session: int, nodes: list[int]) -> Any:
        """The oracle: what these nodes' words were before masks, added up."""
        total = None
        for asked, reply in grid.exchanged:
            if asked.metadata.message_type != SUM or asked.metadata.dst_node_id not in nodes:
                continue
            call = SumCall.from_records(asked.content)
            if (call.step, call.session, call.stage) == (step, session, "masked"):
                sent = SumReply.from_records(reply.content, "masked").words
                (words,) = [w for w, m in self.masked if np.array_equal(m, sent)]
                total = words if total is None else total + words
        return total


@pytest.mark.parametrize("stage", [None, *STAGES])
def test_the_model_is_made_of_exactly_what_the_survivors_summed(
    sums_run: Any, recording_grid: Grid, monkeypatch: pytest.MonkeyPatch, stage: Stage | None
) -> None:
    run = sums_run(fixed_noise=False)
    grid, inside, seen = recording_grid(run.path), Inside(monkeypatch), Seen()
    if stage is not None:
        grid.tampering = of_stage(silence, stage, nodes_of(["shop-2"]))
    rounds(run, grid, observer=seen).run()
    counted = stage is None or COUNTED[stage]
    survivors = tuple(name for name in SHOPS if counted or name != "shop-2")
    job = read_job(run.path)
    for step, release in enumerate(schedule_of(job).plan.releases):
        words = inside.sum_of(grid, step, 0, nodes_of(survivors))
        total, record = inside.totals[step], seen.records[step]
        assert np.array_equal(total.values, natural(words, release))
        assert total.noise_std == record.noise_std == noise_std_of(release, len(survivors))
        assert record.answered == survivors
        assert record.refused == ({} if counted else {"shop-2": "no-answer"})
        assert {n: d.stage for n, d in record.sessions[0].dropped.items()} == (
            {} if stage is None else {"shop-2": stage}
        )
    checkpoint = Registry(run.path / "server").latest(job)
    assert checkpoint is not None
    assert tuple(checkpoint.heads) == survivors
    assert checkpoint.private


@pytest.mark.parametrize("stage", STAGES)
def test_below_the_threshold_there_is_no_total_and_the_next_session_is_charged_anew(
    sums_run: Any, recording_grid: Grid, spent: Any, stage: Stage
) -> None:
    run = sums_run()
    grid = recording_grid(run.path)
    grid.tampering = of_stage(silence, stage, nodes_of(["shop-2", "shop-4"]))
    with pytest.raises(RunError) as caught:
        rounds(run, grid, attempts=1).run()
    assert caught.value.code is Code.RUN_QUORUM
    assert f"ended at stage {stage}" in caught.value.message
    assert "shop-4 at" in caught.value.message
    assert ("Nothing was spent" in caught.value.remedy) is (stage in {"keys", "shares"})
    assert Registry(run.path / "server").rounds() == []
    charged = 0 if stage in {"keys", "shares"} else 1
    assert {n: k.count("spend") for n, k in spent(run.path).items()} == dict.fromkeys(
        SHOPS, charged
    )
    grid.tampering = lambda _, reply: reply
    rounds(run, grid).run()
    spends = {name: kinds.count("spend") for name, kinds in spent(run.path).items()}
    assert spends == dict.fromkeys(SHOPS, 3 + charged)
    record = Registry(run.path / "server").rounds()[0]
    assert [one.outcome for one in record.sessions] == ["sum-threshold", SUMMED]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("node", [4])
def test_a_server_killed_at_any_stage_goes_on_with_the_next_session(
    sums_run: Any, recording_grid: Grid, spent: Any, stage: Stage, node: int
) -> None:
    run = sums_run()
    grid = recording_grid(run.path)
    at_step = of_stage(killed, stage, [node], session=0)
    grid.tampering = lambda asked, reply: (
        at_step(asked, reply) if asked.metadata.group_id == "1" else reply
    )
    with pytest.raises(KeyboardInterrupt):
        rounds(run, grid).run()
    grid = recording_grid(run.path)
    rounds(run, grid).run()
    records = Registry(run.path / "server").rounds()
    assert [[one.outcome for one in record.sessions] for record in records] == [
        [SUMMED], [BEGUN, SUMMED], [SUMMED]
    ]  # fmt: skip
    assert all(record.answered == SHOPS for record in records)
    calls = [
        SumCall.from_records(a.content) for a, _ in grid.exchanged if a.metadata.message_type == SUM
    ]
    assert {(call.step, call.session) for call in calls} == {(1, 1), (2, 0)}
    spends = {name: kinds.count("spend") for name, kinds in spent(run.path).items()}
    charged = {name: 4 if _had_words(stage, node, name) else 3 for name in SHOPS}
    assert spends == charged


def _had_words(stage: Stage, node: int, name: str) -> bool:
    """Whether a client had been asked for words when the server was killed."""
    if stage == "masked":
        return nodes_of([name])[0] <= node
    return COUNTED[stage]


def test_a_failed_session_is_followed_by_another_in_the_same_run(
    sums_run: Any, recording_grid: Grid, spent: Any
) -> None:
    run, seen = sums_run(), Seen()
    grid = recording_grid(run.path)
    grid.tampering = of_stage(silence, "masked", nodes_of(["shop-1", "shop-3"]), session=0)
    rounds(run, grid, observer=seen).run()
    for record in seen.records:
        assert [one.outcome for one in record.sessions] == ["sum-threshold", SUMMED]
        assert record.answered == SHOPS
    spends = {name: kinds.count("spend") for name, kinds in spent(run.path).items()}
    assert spends == dict.fromkeys(SHOPS, 6)


def test_a_lost_memory_of_sessions_is_refused_by_clients_and_costs_nothing(
    sums_run: Any, recording_grid: Grid, spent: Any
) -> None:
    """The folder `sums` is gone: old numbers come again, and clients know them."""
    run = sums_run()
    grid = recording_grid(run.path)
    grid.tampering = of_stage(killed, "reveal", [2])
    with pytest.raises(KeyboardInterrupt):
        rounds(run, grid).run()
    Sessions(run.path / "server").begin(0)
    grid = recording_grid(run.path)
    grid.tampering = of_stage(killed, "shares", [2])
    with pytest.raises(KeyboardInterrupt):
        rounds(run, grid).run()  # session 2
    shutil.rmtree(run.path / "server" / "sums")
    grid.tampering = lambda _, reply: reply
    with pytest.raises(RunError, match="sum-session"):
        rounds(run, grid).run()  # sessions 0 and 1
    before = {name: kinds.count("spend") for name, kinds in spent(run.path).items()}
    assert before == dict.fromkeys(SHOPS, 1)
    for _ in range(2):
        try:
            rounds(run, grid).run()
        except RunError:
            continue
        break
    assert len(Registry(run.path / "server").rounds()) == 3
    assert (
        max(json.loads((run.path / "server/model/manifest.json").read_text())["privacy"]["charged"])
        > 1
    )


def test_calls_are_signed_and_every_head_gets_its_receipt(
    sums_run: Any, recording_grid: Grid
) -> None:
    run = sums_run()
    grid = recording_grid(run.path)
    rounds(run, grid).run()
    heads: dict[int, list[Any]] = {}
    receipts: dict[int, list[Any]] = {}
    for asked, reply in grid.exchanged:
        if asked.metadata.message_type != SUM:
            continue
        node, call = asked.metadata.dst_node_id, SumCall.from_records(asked.content)
        assert call.signature
        call.check_signature()
        known = receipts.setdefault(node, [])
        if call.receipt is not None and call.receipt not in known:
            known.append(call.receipt)
        answer = SumReply.from_records(reply.content, call.stage)
        assert answer.code == OK
        if call.stage == "masked":
            heads.setdefault(node, []).append(answer.head)
    assert list(heads) == nodes_of(SHOPS)
    for node, shown in heads.items():
        assert len(shown) == 3
        assert [receipt.head for receipt in receipts[node]] == shown


def beheaded(asked: Message, reply: Message) -> Message:
    honest = SumReply.from_records(reply.content, "masked")
    return Message(replace(honest, head=None).to_records(), reply_to=asked)


def test_a_head_that_does_not_hold_drops_its_client_and_leaves_it_out(
    sums_run: Any, recording_grid: Grid
) -> None:
    run, seen = sums_run(), Seen()
    grid = recording_grid(run.path)
    grid.tampering = of_stage(beheaded, "masked", nodes_of(["shop-5"]))
    rounds(run, grid, observer=seen).run()
    assert [record.refused for record in seen.records] == [{"shop-5": "ledger-signature"}] * 3
    assert [record.answered for record in seen.records] == [SHOPS[:4]] * 3
    dropped = [{n: d.stage for n, d in r.sessions[0].dropped.items()} for r in seen.records]
    assert dropped == [{"shop-5": "masked"}, {}, {}]


def test_a_refusal_by_budget_is_a_drop_out_that_costs_nothing(
    sums_run: Any, recording_grid: Grid, spent: Any
) -> None:
    from tests.conftest import shop_of

    run, seen = sums_run(), Seen()
    shop = shop_of(run.path, 2)
    shop.allow(lifetime={**shop.policy.lifetime.model_dump(), "epsilon": 0.5})
    rounds(run, recording_grid(run.path), observer=seen).run()
    assert [record.refused for record in seen.records] == [{"shop-3": "budget-lifetime"}] * 3
    assert "spend" not in spent(run.path)["shop-3"]


def test_too_few_members_end_a_run_before_anybody_is_asked(
    sums_run: Any, recording_grid: Grid, spent: Any
) -> None:
    run = sums_run()
    grid = recording_grid(run.path)
    runner = rounds(run, grid)
    few = rounds(run, grid, members=runner.members[:3])
    with pytest.raises(RunError, match="3 of 5 clients can be asked") as caught:
        few.run()
    assert caught.value.code is Code.RUN_QUORUM
    assert all(kinds in ([], ["open"]) for kinds in spent(run.path).values())


def test_the_servers_roster_must_be_the_jobs(sums_run: Any, recording_grid: Grid) -> None:
    run, other = sums_run(), sums_run("other", seed=8)
    roster = read_roster(run.path)
    assert roster is not None
    assert roster.digest == read_job(run.path).roster
    with pytest.raises(RunError) as caught:
        rounds(run, recording_grid(run.path), roster=read_roster(other.path)).run()
    assert caught.value.code is Code.RUN_MISMATCH
    assert read_roster(run.path / "clients") is None


def test_secure_sums_need_a_roster_at_the_server(
    sums_run: Any, recording_grid: Grid, spent: Any
) -> None:
    run = sums_run()
    (run.path / "roster.toml").unlink()
    with pytest.raises(RunError, match="here is none") as caught:
        rounds(run, recording_grid(run.path)).run()
    assert caught.value.code is Code.RUN_MISMATCH
    assert "roster.toml" in caught.value.remedy
    assert all(kinds in ([], ["open"]) for kinds in spent(run.path).values())


def test_a_node_that_is_not_on_the_roster_is_not_asked_and_stops_nobody(
    sums_run: Any, recording_grid: Grid, caplog: pytest.LogCaptureFixture
) -> None:
    run, seen = sums_run(), Seen()
    grid = recording_grid(run.path)
    runner = rounds(run, grid)
    strangers = [replace(member, name=f"stranger-{member.name}") for member in runner.members[:2]]
    replace(runner, members=[*strangers, *runner.members], observer=seen).run()
    assert [record.answered for record in seen.records] == [SHOPS] * 3
    assert "stranger-shop-1 is not on the roster and is not asked" in caplog.text


@pytest.mark.parametrize(("factor", "accepted"), [(1.0, True), (2 / 3, False), (1.5, False)])
def test_noise_of_a_real_total_is_what_the_server_states(
    sums_run: Any, recording_grid: Grid, monkeypatch: pytest.MonkeyPatch, factor: float,
    accepted: bool,
) -> None:  # fmt: skip
    """Nobody contributes, and one is lost: a total is four shares of noise and nothing else."""
    monkeypatch.setattr(Schedule, "contribute", lambda *_: iter(()))
    inside = Inside(monkeypatch)
    market = {**MARKET, "items": 4000}
    run = sums_run(marketplace=market, fixed_noise=False, dim=8, lifetime_epsilon=None)
    grid = recording_grid(run.path)
    grid.tampering = of_stage(silence, "masked", [3])
    rounds(run, grid).run()
    scaled = np.concatenate([(t.values / (t.noise_std * factor)).ravel() for t in inside.totals])
    assert scaled.size == 4000 * (1 + 2 * 8)
    ratio = float(np.mean(scaled**2))
    assert bool(abs(ratio - 1) < 5 * np.sqrt(2 / scaled.size)) is accepted
