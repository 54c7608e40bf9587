"""Attacks of a run's audit: its own settings, sizes that end, and no dice thrown by a check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.app import read_job
from simulations.attacks.many_run import ManyRunSettings, audit_many_run, weakened
from simulations.audit import attacks as module
from simulations.audit.attacks import AttackSizes, attack_run, sizes_for
from simulations.audit.run import RunAudit

SIZES = AttackSizes(
    users=40, canaries=40, runs=1_000, shadows=7, releases=2, targets=5, fixed_noise=True
)


def test_attacks_have_the_settings_of_the_run(audited: RunAudit) -> None:
    job = audited.job
    for attack in audited.attacks:
        settings = attack.values["settings"]
        assert settings["solver"] == job.solver
        assert settings["epsilon"] == job.epsilon
        assert settings["settings"].items() >= job.settings.items()
        assert settings["delta"] <= max(job.delta, 1e-5)
        assert settings.get("clients", 1) == 1
        assert attack.seconds > 0


@pytest.mark.parametrize("solver", ["dpsgd", "sequential", "neural"])
def test_a_step_through_clients_is_attacked_less(done: Path, solver: str) -> None:
    job = read_job(done)
    small = sizes_for(job.model_copy(update={"solver": solver}))
    assert small.shadows < sizes_for(job).shadows
    assert small.releases < sizes_for(job).releases


def test_half_the_noise_is_a_finding_and_all_of_it_is_not(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real audit of a mechanism that really has less noise than it was planned with."""
    asked: list[ManyRunSettings] = []

    def broken(settings: ManyRunSettings, make: Any, **options: Any) -> Any:
        assert make is None
        asked.append(settings)
        return audit_many_run(settings, weakened(0.25), **options)

    job, told = read_job(done), []
    assert module._many_run(job, SIZES, told.append).findings == ()
    monkeypatch.setattr(module, "audit_many_run", broken)
    found = module._many_run(job, SIZES, told.append)
    assert [finding.layer for finding in found.findings] == ["attack"]
    assert "was promised" in found.findings[0].what
    first, second = asked
    assert first.confidence == 0.95
    assert second.confidence == 1 - 1e-6  # on other draws
    assert second.seed != first.seed
    assert "again, to be sure" in told


def test_without_a_promise_there_is_none_to_break(done: Path) -> None:
    job = read_job(done).model_copy(
        update={"mode": "none", "epsilon": None, "delta": 0.0, "server": None}
    )
    found = {attack.name: attack for attack in attack_run(job, SIZES, lambda _: None)}
    assert "not tried: mode `none` makes no noise" in found["many-run"].words
    assert found["many-run"].bound is None
    assert all(attack.findings == () for attack in found.values())
    assert found["one-run"].promised is None
    assert "promised" not in found["one-run"].words


def test_what_cannot_be_attacked_says_why_and_shows_nothing(done: Path) -> None:
    """Sampled users cannot be taken out of a sum that nobody knows the members of."""
    settings = {"rounds": 1, "local_steps": 1, "embedding_dim": 4, "sampling_rate": 0.5}
    job = read_job(done).model_copy(update={"solver": "dpsgd", "settings": settings})
    found = {attack.name: attack for attack in attack_run(job, SIZES, lambda _: None)}
    assert found["reconstruction"].words.startswith("not tried: ")
    assert "sampled" in found["reconstruction"].words
    assert found["reconstruction"].section is None
    assert found["one-run"].bound is not None
    json.dumps([attack.to_json() for attack in found.values()], allow_nan=False)
