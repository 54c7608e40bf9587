"""Secure sums are attacked as the server and its colluders have them, and audited like any run."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2
from typer.testing import CliRunner

from client.ledger_store import LedgerStore
from client.store import ClientStore
from common.job import Job
from common.privacy.contributions import SparseRows
from common.privacy.plan import Release
from common.privacy.roster import Terms
from common.privacy.stream import NoiseSource
from common.schedule import schedule_of
from hushrec import command_line
from server.app import read_job
from simulations.attacks.many_run import ManyRunSettings, audit_many_run
from simulations.audit.attacks import AttackSizes, attack_run, sizes_for
from simulations.audit.honest import HonestShares, alone_settings, alone_words, honest_shares
from simulations.audit.run import RunAudit, audit_run

TERMS = Terms(clients=5, threshold=4, colluders=1)
SIZES = AttackSizes(
    users=40, canaries=40, runs=400, shadows=7, releases=2, targets=5, fixed_noise=True
)


def release(**changes: Any) -> Release:
    values = {"step": "x", "rows": 40, "width": 50, "share": 1.0, "clip_norm": 0.5}
    return Release.load({**values, "noise_multiplier": 1.5, **changes})


def job(solver: str = "dpsgd", **changes: Any) -> Job:
    values: dict[str, Any] = {
        "job_id": "0" * 32, "catalogue_version": "c", "n_items": 30, "clients": 5,
        "population": 1000, "signal": 700.0, "mode": "distributed", "epsilon": 4.0, "delta": 1e-5,
        "solver": solver, "roster": "0" * 64, "threshold": 4, "colluders": 1,
    }  # fmt: skip
    return Job.load({**values, **changes})


def test_the_noise_of_honest_shares_is_what_was_planned() -> None:
    """A χ² test that would not take two thirds of it, nor three halves."""
    made = HonestShares(TERMS, 1000, release(), NoiseSource.seeded(1))
    values = made.sum([])
    planned = 1.5 * 0.5
    assert made.noise_std == pytest.approx(planned, rel=1e-4)
    for factor, holds in ((1.0, True), (2 / 3, False), (3 / 2, False)):
        statistic = float((values**2).sum() / (factor * planned) ** 2)
        low, high = chi2.interval(1 - 1e-6, values.size)
        assert bool(low < statistic < high) is holds


def test_users_are_in_the_total_once_and_clipped() -> None:
    made = HonestShares(TERMS, 1000, release(noise_multiplier=0.05), NoiseSource.seeded(2))
    users = made.sample(2)
    one = SparseRows(users, np.array([0, 1, 2]), np.array([0, 7]), np.full((2, 50), 3.0))
    total = made.sum([one])
    assert np.linalg.norm(total[0]) == pytest.approx(0.5, rel=0.3)
    assert np.linalg.norm(total[7]) == pytest.approx(0.5, rel=0.3)
    assert np.abs(np.delete(total, [0, 7], axis=0)).max() < 0.2
    assert not made.is_private


def settings(**changes: Any) -> ManyRunSettings:
    return ManyRunSettings.load(
        {"solver": "popularity", "users": 50, "items": 20, "runs": 3_000, "fixed_noise": True}
        | changes
    )


def test_one_step_repeated_adds_up_the_real_shares() -> None:
    """Honest shares keep the promise; a share fewer than planned for does not."""
    make = honest_shares(job("popularity"), 50)
    assert make is not None
    assert not audit_many_run(settings(confidence=1 - 1e-6), make).broken

    class OneOfThree(HonestShares):
        def __init__(self, *values: Any) -> None:
            super().__init__(*values)
            self._shares = self._shares[:1]

    few = partial(OneOfThree, TERMS, 50)
    assert audit_many_run(settings(confidence=1 - 1e-6), few).broken


def test_other_modes_have_no_shares() -> None:
    local = job("subspace", mode="local", roster=None, threshold=None, colluders=None)
    assert honest_shares(local, 50) is None
    assert alone_words(local) == ""
    assert alone_settings(local) == local.settings


def test_one_client_alone_is_not_combined_with_others() -> None:
    """A robust rule takes several, and an attacker has what each of them released."""
    asked = {"aggregation": "median", "byzantine": 1, "local_steps": 1}
    local = job(mode="local", roster=None, threshold=None, colluders=None, settings=asked)
    alone = local.model_copy(update={"clients": 1, "settings": alone_settings(local)})
    assert alone.settings == {"local_steps": 1}
    assert schedule_of(alone).plan == schedule_of(local).plan


def test_one_client_alone_makes_one_sum_in_each_round() -> None:
    alone = alone_settings(job())
    assert alone == {"rounds": 10, "local_steps": 1}
    local = job(mode="local", roster=None, threshold=None, colluders=None, settings=alone)
    there = [step.release for step in schedule_of(job()).steps]
    assert [step.release for step in schedule_of(local).steps] == there
    assert alone_settings(job("subspace")) == {}


def test_many_honest_shares_are_tried_less_often() -> None:
    assert sizes_for(job()).runs == AttackSizes().runs
    wide = job(clients=100, threshold=90, colluders=10)
    assert AttackSizes().runs / 12 < sizes_for(wide).runs < AttackSizes().runs / 8


@pytest.fixture
def secure_run(finish_run: Callable[..., Path]) -> Path:
    return finish_run(mode="distributed")


def whats(audit: RunAudit) -> list[str]:
    return [f"{one.layer} {one.where}: {one.what}" for one in audit.findings]


def test_a_run_of_secure_sums_is_audited_in_every_layer(secure_run: Path) -> None:
    audit = audit_run(secure_run, sizes=SIZES)
    assert whats(audit) == []
    assert audit.verdict == "kept"
    assert len(audit.artefacts) == 3
    for client in audit.clients:
        assert client.seen_whole
        assert client.audited.ledger.total.agrees
        (only,) = client.audited.ledger.jobs
        assert [one.shops for one in only.guarantees] == [1]
    values = audit.to_json()
    assert values["job"]["terms"] == {"clients": 3, "threshold": 3, "colluders": 1}
    assert "h = 2 honest shares" in values["attacked"]
    assert [one["name"] for one in values["attacks"]] == [
        "one-run", "many-run", "membership", "reconstruction",
    ]  # fmt: skip
    assert not any("not tried" in one["words"] for one in values["attacks"])


def test_its_files_say_against_whom(secure_run: Path) -> None:
    done = CliRunner().invoke(command_line(), ["audit", "run", str(secure_run), "--no-attacks"])
    assert done.exit_code == 0, done.output
    assert done.output.count("seen up to its end") == 3
    statement = (secure_run / "audit" / "statements" / "shop-1.html").read_text()
    assert "n = 3, t = 3, c = 1" in statement
    manifest = json.loads((secure_run / "server" / "model" / "manifest.json").read_text())
    assert manifest["privacy"]["mode"] == "distributed"
    shares = manifest["privacy"]["releases"][0]["shares"]
    assert (shares["clients"], shares["threshold"], shares["colluders"]) == (3, 3, 1)
    assert "up to 1 colluding client" in manifest["privacy"]["guarantee"]


def test_recomputing_says_against_whom(secure_run: Path) -> None:
    done = CliRunner().invoke(command_line(), ["audit", "recompute", str(secure_run)])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("for a user of one client: ε = ") == 1
    assert "up to 1 of 3 clients, at least 3 in every sum" in done.stdout


def test_other_terms_in_a_manifest_are_found(secure_run: Path) -> None:
    path = secure_run / "server" / "model" / "manifest.json"
    values = json.loads(path.read_text())
    values["privacy"]["releases"][0]["shares"]["colluders"] = 2
    path.write_text(json.dumps(values))
    assert any("another plan" in what for what in whats(audit_run(secure_run, attacks=False)))


def test_an_agreement_of_too_few_in_a_ledger_is_found(secure_run: Path) -> None:
    shop = secure_run / "clients" / "shop-1"
    own = ClientStore.open(shop).settings
    body = {"job_id": read_job(secure_run).job_id, "step": 0, "session": 7}
    with LedgerStore.open(shop / "ledger.sqlite", own.name, own.dataset_id) as ledger:
        ledger.append("agree", {**body, "survivors": ["shop-1"]})
    found = whats(audit_run(secure_run, attacks=False))
    assert any("nothing was released for" in what for what in found)


def test_dpsgd_in_secure_sums_is_attacked_with_its_own_rounds() -> None:
    small = {"rounds": 1, "embedding_dim": 3, "negatives": 5}
    found = {a.name: a for a in attack_run(job(settings=small), SIZES, lambda _: None)}
    for attack in found.values():
        assert "not tried" not in attack.words
        assert attack.values["settings"]["settings"]["local_steps"] == 1
