"""A job over real clients: refusals, quorum, checkpoints, resuming, stated noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from common.errors import ArtifactError, Code, RunError
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING
from common.privacy.planner import guarantee_of
from common.protocol import STEP
from common.schedule import Schedule, schedule_of
from server.app import read_job
from server.record import RoundRecord
from server.registry import Registry
from tests.server.tampering import Seen, answer, on_step, reply, rounds, silence


def test_a_client_that_refuses_leaves_the_others_working(
    run_folder: Any, recording_grid: Callable[..., Any], spent: Callable[..., Any]
) -> None:
    """A real refusal: its log changes after the first step."""
    grid, seen = recording_grid(run_folder.path), Seen()
    log = run_folder.clients / "shop-2" / "events.parquet"

    def change(asked: Message, reply: Message) -> Message:
        if asked.metadata.message_type == STEP and asked.metadata.group_id == "0":
            import pandas as pd

            pd.read_parquet(log).iloc[3:].to_parquet(log, index=False)
        return reply

    grid.tampering = on_step(change, node=3, step=0)
    rounds(run_folder, grid, observer=seen).run()
    assert [r.refused for r in seen.records] == [{}, *[{"shop-2": "client-unready"}] * 2]
    ledgers = spent(run_folder.path)
    assert ledgers["shop-2"] == ["open", "admit", "reserve", "spend", "refuse", "refuse"]
    assert ledgers["shop-1"].count("spend") == 3


def test_too_few_answers_name_who_and_why_and_the_round_can_be_repeated(
    run_folder: Any, recording_grid: Callable[..., Any], spent: Callable[..., Any]
) -> None:
    grid = recording_grid(run_folder.path)
    refusal = answer(reply("snapshot-changed"))
    silent, refusing = on_step(silence, 2, 1), on_step(refusal, 4, 1)
    grid.tampering = lambda asked, given: (
        silent(asked, given) if asked.metadata.dst_node_id == 2 else refusing(asked, given)
    )
    with pytest.raises(RunError) as caught:
        rounds(run_folder, grid, quorum=2).run()
    assert caught.value.code is Code.RUN_QUORUM
    assert "1 of 3 clients answered, 2 are needed" in caught.value.message
    assert "shop-1: no-answer, shop-3: snapshot-changed" in caught.value.message
    assert len(Registry(run_folder.path / "server").rounds()) == 1
    before = {name: kinds.count("reserve") for name, kinds in spent(run_folder.path).items()}
    assert before == {"shop-1": 2, "shop-2": 2, "shop-3": 2}
    grid.tampering = lambda _, reply: reply
    rounds(run_folder, grid, quorum=2).run()
    after = {name: kinds.count("reserve") for name, kinds in spent(run_folder.path).items()}
    assert after == {"shop-1": 3, "shop-2": 3, "shop-3": 3}


def test_even_a_quorum_of_zero_needs_one_release(
    run_folder: Any, recording_grid: Callable[..., Any]
) -> None:
    grid = recording_grid(run_folder.path)
    runner = rounds(run_folder, grid, quorum=0)
    grid.tampering = lambda *_: None
    with pytest.raises(RunError) as caught:
        runner.run()
    assert caught.value.code is Code.RUN_QUORUM


@pytest.mark.parametrize("after", [1, 2, 3])
def test_resumed_after_any_round_it_ends_with_the_same_model_and_spend(
    run_folder: Any, prepare_run: Callable[..., Any], recording_grid: Callable[..., Any],
    spent: Callable[..., Any], after: int,
) -> None:  # fmt: skip
    seen = Seen(stop_after=after)
    with pytest.raises(KeyboardInterrupt):
        rounds(run_folder, recording_grid(run_folder.path), observer=seen).run()
    rounds(run_folder, recording_grid(run_folder.path)).run()
    whole = prepare_run("whole")
    rounds(whole, recording_grid(whole.path)).run()
    assert model_bytes(run_folder) == model_bytes(whole)
    assert spent(run_folder.path) == spent(whole.path)
    steps = [record.step for record in Registry(run_folder.path / "server").rounds()]
    assert steps == [0, 1, 2]


def test_a_server_that_lost_its_checkpoints_gets_the_same_releases_again(
    run_folder: Any, recording_grid: Callable[..., Any], spent: Callable[..., Any]
) -> None:
    import shutil

    rounds(run_folder, recording_grid(run_folder.path)).run()
    model, ledgers = model_bytes(run_folder), spent(run_folder.path)
    shutil.rmtree(run_folder.path / "server" / "checkpoints")
    (run_folder.path / "server" / "progress.json").unlink()
    rounds(run_folder, recording_grid(run_folder.path)).run()
    assert model_bytes(run_folder) == model
    assert spent(run_folder.path) == ledgers


def test_a_damaged_checkpoint_stops_the_run_and_says_what_to_do(
    run_folder: Any, recording_grid: Callable[..., Any]
) -> None:
    grid = recording_grid(run_folder.path)
    with pytest.raises(KeyboardInterrupt):
        rounds(run_folder, grid, observer=Seen(stop_after=1)).run()
    (run_folder.path / "server" / "checkpoints" / "step-0001" / "arrays.safetensors").write_bytes(
        b"garbage"
    )
    with pytest.raises(ArtifactError, match="at no cost") as caught:
        rounds(run_folder, grid).run()
    assert caught.value.code is Code.ARTIFACT_INVALID


@pytest.mark.parametrize(("factor", "accepted"), [(1.0, True), (2 / 3, False), (1.5, False)])
def test_noise_in_a_real_round_is_what_the_server_states(
    prepare_run: Callable[..., Any], recording_grid: Callable[..., Any], monkeypatch: Any,
    factor: float, accepted: bool,
) -> None:  # fmt: skip
    """Nobody contributes, so that a total is nothing but noise from the operating system."""
    monkeypatch.setattr(Schedule, "contribute", lambda *_: iter(()))
    seen: list[tuple[float, np.ndarray]] = []
    advance = Schedule.advance

    def watch(self: Schedule, step: int, state: Any, total: Any) -> Any:
        seen.append((total.noise_std, total.values))
        return advance(self, step, state, total)

    monkeypatch.setattr(Schedule, "advance", watch)
    market = {"users": 40, "items": 4000, "categories": 4, "shop_sizes": (25, 10, 5)}
    run = prepare_run(marketplace=market, fixed_noise=False, dim=8)
    rounds(run, recording_grid(run.path)).run()
    assert len(seen) == 3
    scaled = np.concatenate([(values / (std * factor)).ravel() for std, values in seen])
    assert scaled.size == 4000 * (1 + 2 * 8)
    ratio = float(np.mean(scaled**2))
    assert bool(abs(ratio - 1) < 5 * np.sqrt(2 / scaled.size)) is accepted


def test_what_a_round_was_is_recorded(run_folder: Any, recording_grid: Callable[..., Any]) -> None:
    seen, job = Seen(), read_job(run_folder.path)
    rounds(run_folder, recording_grid(run_folder.path), observer=seen).run()
    steps = schedule_of(job).steps
    assert [record.name for record in seen.records] == [step.release.step for step in steps]
    for record, step in zip(seen.records, steps, strict=True):
        assert record.of == 3
        assert record.bytes_up == 3 * 4 * step.release.rows * step.release.width
        assert record.bytes_down == 3 * 4 * sum(int(np.prod(s.shape)) for s in step.inputs.values())
    assert Registry(run_folder.path / "server").rounds() == seen.records


def test_a_round_that_averages_states_states_no_noise(
    prepare_run: Callable[..., Any], recording_grid: Callable[..., Any]
) -> None:
    run, seen = prepare_run(solver="dpsgd", rounds=None, dim=None), Seen()
    rounds(run, recording_grid(run.path), observer=seen).run()
    kinds = [step.aggregate for step in schedule_of(read_job(run.path)).steps]
    assert "average" in kinds
    for kind, record in zip(kinds, seen.records, strict=True):
        assert (record.noise_std is None) == (kind == "average")
        assert (record.signal_to_noise is None) == (kind == "average")


def test_an_average_moves_what_a_step_releases_and_nothing_else(
    prepare_run: Callable[..., Any], recording_grid: Callable[..., Any]
) -> None:
    run = prepare_run(solver="dpsgd", rounds=None, dim=None)
    job, registry = read_job(run.path), Registry(run.path / "server")
    states: list[Any] = []

    class Watch(Seen):
        def round_done(self, record: RoundRecord) -> None:
            checkpoint = registry.latest(job)
            assert checkpoint is not None
            states.append(checkpoint.state)

    rounds(run, recording_grid(run.path), observer=Watch()).run()
    first, last = states[0], states[-1]
    moved = {name for name in last if not np.array_equal(first[name], last[name])}
    assert set(first) == set(last)
    assert moved == set(schedule_of(job).steps[1].outputs) == {"item_table"}


def model_bytes(run: Any) -> bytes:
    return (run.path / "server" / "model" / "arrays.safetensors").read_bytes()


def manifest_of(
    run: Any, recording_grid: Callable[..., Any], folder: str = "model"
) -> dict[str, Any]:
    rounds(run, recording_grid(run.path)).run()
    text = (run.path / "server" / folder / "manifest.json").read_text()
    return dict(json.loads(text))


@pytest.mark.parametrize("folder", ["model", "checkpoints/step-0001"])
def test_a_manifest_names_everything_that_belongs_to_an_epsilon(
    prepare_run: Callable[..., Any], recording_grid: Callable[..., Any], folder: str
) -> None:
    run = prepare_run(fixed_noise=False)
    plan = schedule_of(read_job(run.path)).plan
    found = manifest_of(run, recording_grid, folder)["privacy"]
    assert 7.9 < found["epsilon"] <= 8.0
    assert (found["mode"], found["unit"], found["delta"]) == ("local", "user", plan.delta)
    assert (found["neighbouring"], found["accountant"]) == (NEIGHBOURING, ACCOUNTANT)
    assert found["guarantee"] == str(guarantee_of(plan))
    assert [release["step"] for release in found["releases"]] == [r.step for r in plan.releases]


@pytest.mark.parametrize(
    "scenario", [{}, {"mode": "none", "no_privacy": True, "fixed_noise": False}]
)
def test_a_manifest_without_a_guarantee_states_no_epsilon(
    prepare_run: Callable[..., Any], recording_grid: Callable[..., Any], scenario: dict[str, Any]
) -> None:
    found = manifest_of(prepare_run(**scenario), recording_grid)
    assert not found["private"]
    assert found["privacy"]["epsilon"] is None
    assert found["privacy"]["guarantee"] == "no privacy guarantee"


def test_a_manifest_marks_a_catalogue_that_was_read_off_the_events(
    run_folder: Any, recording_grid: Callable[..., Any]
) -> None:
    job = read_job(run_folder.path)
    assert not job.catalogue_derived
    derived = job.model_copy(update={"catalogue_derived": True})
    rounds(run_folder, recording_grid(run_folder.path), job=derived).run()
    _, manifest = Registry(run_folder.path / "server").model(job.catalogue_version)
    assert manifest.catalogue_derived
