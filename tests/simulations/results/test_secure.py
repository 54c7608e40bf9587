"""The study of secure sums: what it is compared with has the same noise, and the page is whole."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from common.schedule import schedule_of
from simulations.dataset import load_dataset
from simulations.prepare import make_job
from simulations.results import secure
from simulations.scenario import Scenario

MARKET = {"users": 240, "items": 40, "categories": 4, "shops": 2, "events_per_user": 10.0}


def job(**changes: Any) -> Any:
    scenario = Scenario.load({"marketplace": MARKET, "partition": "hash", "seed": 1, **changes})
    return make_job(scenario, load_dataset(scenario))


@pytest.mark.parametrize("epsilon", [8.0, 2.0])
@pytest.mark.parametrize("clients", [4, 24])
def test_central_noise_is_that_of_all_shares_together(epsilon: float, clients: int) -> None:
    shared = job(mode="distributed", clients=clients, epsilon=epsilon, delta=1e-3)
    found, width = secure.equal_noise(shared)
    alone = job(mode="local", clients=1, epsilon=found, delta=1e-3, dim=width)
    terms = shared.terms
    for one, other in zip(
        schedule_of(shared).plan.releases, schedule_of(alone).plan.releases, strict=True
    ):
        in_total = one.noise_multiplier * math.sqrt(clients / terms.honest)
        assert other.noise_multiplier == pytest.approx(in_total, rel=1e-4)
        assert (other.rows, other.width) == (one.rows, one.width)
    assert 0.5 * epsilon < found < epsilon


def test_the_noise_of_other_modes_grows_with_clients() -> None:
    one, many = (job(clients=n, epsilon=4.0, delta=1e-3, dim=4) for n in (1, 9))
    assert secure.noise_in_total(many) == pytest.approx(3 * secure.noise_in_total(one))


def test_the_study_writes_its_page_and_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"marketplace": MARKET, "protocol": "ncf", "rounds": 1}
    monkeypatch.setattr(secure, "_source", lambda data: source)
    monkeypatch.setattr(secure, "DELTA", 1e-3)
    monkeypatch.setattr(secure, "EPSILONS", (4.0,))
    monkeypatch.setattr(secure, "COUNTS", (3, 5))
    told: list[str] = []
    secure.run_secure(tmp_path / "no-data", tmp_path, [0, 1], told.append)
    text = (tmp_path / "ml1m-secure.md").read_text(encoding="utf-8")
    assert "python -m simulations.results secure --seeds 0 1" in text
    assert "nan" not in text
    kept = json.loads((tmp_path / "ml1m-secure.json").read_text(encoding="utf-8"))["runs"]
    runs = [row for row in kept if "joint_hr@10" in row]
    assert [(r["mode"], r["clients"]) for r in runs] == 2 * [
        ("distributed", 3), ("local", 3), ("central", 1), ("distributed", 5)
    ]  # fmt: skip
    shared, local, central, _ = runs[:4]
    assert central["noise"] == pytest.approx(shared["noise"], rel=1e-3)
    assert shared["noise"] < local["noise"]
    assert central["epsilon_spent"] < shared["epsilon_spent"] <= 4.0
    assert [row["clients"] for row in kept if "shop - alone" in row] == [3, 5, 3, 5]
    differences = [row for row in kept if "distributed minus" in row]
    assert [row["distributed minus"] for row in differences] == ["local", "central"]
    assert all(row["hr@10 low"] <= row["hr@10"] <= row["hr@10 high"] for row in differences)
