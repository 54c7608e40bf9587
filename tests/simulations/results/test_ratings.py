"""The means that a model of ratings has to beat: right without noise, and charged with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.arrays import Histories
from common.evaluation.ratings import MeanRatings
from common.privacy.stream import NoiseSource
from simulations.dataset import load_dataset
from simulations.prepare import make_job
from simulations.results import ratings
from simulations.results.ratings import MeanAndOffset, noised_means, run_ratings
from simulations.scenario import Scenario

ITEMS, USERS = 6, 3_000
TRUTH = np.array([2.0, 2.8, 3.6, 4.0, 4.4, 4.8])


def rated() -> Histories:
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.choice(ITEMS, rng.integers(1, ITEMS), replace=False)) for _ in range(USERS)]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    items = np.concatenate(rows).astype(np.int64)
    return Histories(indptr, items, TRUTH[items] + rng.choice([-0.2, 0.2], len(items)), ITEMS)


def data_file(path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(40):
        for place, item in enumerate(rng.choice(20, 6, replace=False)):
            lines.append(f"u{user},i{item},{rng.integers(1, 6)},{1_600_000_000 + place}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_noised_means_are_near_the_truth_and_move_with_the_noise(tmp_path: Path) -> None:
    asked = {"data": str(data_file(tmp_path / "r.csv")), "clients": 1, "partition": "hash"}
    scenario = Scenario.load(asked)
    job = make_job(scenario, load_dataset(scenario)).model_copy(
        update={"population": USERS, "delta": 1e-5}
    )
    one, two = (noised_means(rated(), job, NoiseSource.seeded(n)).by_item for n in (0, 1))
    np.testing.assert_allclose(one, TRUTH, atol=0.1)
    assert (one != two).all()
    little = job.model_copy(update={"epsilon": 0.01})
    far = noised_means(rated(), little, NoiseSource.seeded(0)).by_item
    assert np.abs(far - TRUTH).mean() > 3 * np.abs(one - TRUTH).mean()
    assert (np.abs(far - ratings.MEAN) <= 2.5 * ratings.SCALE + 1e-9).all()


def test_an_offset_is_what_a_shopper_rates_above_the_means() -> None:
    model = MeanAndOffset(MeanRatings(np.array([3.0, 4.0, 2.0])))
    log = Histories(np.array([0, 2, 2]), np.array([0, 2]), np.array([4.0, 3.5]), 3)
    offsets = model.fold_in(log)
    assert offsets.tolist() == [[pytest.approx(2.5 / 7)], [0.0]]
    np.testing.assert_allclose(model.ratings(offsets)[1], [3.0, 4.0, 2.0])
    np.testing.assert_allclose(model.ratings(offsets)[0], np.array([3, 4, 2]) + 2.5 / 7)


def test_the_study_writes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_file(tmp_path / "r.csv")
    monkeypatch.setattr(ratings, "CASES", (("small", "r.csv", None), ("small", "r.csv", 8.0)))
    short = {"rounds": 1, "local_steps": 1}
    monkeypatch.setattr(ratings, "OPEN", {**ratings.OPEN, **short})
    monkeypatch.setattr(ratings, "PRIVATE", {**ratings.PRIVATE, "rounds": 1})
    told: list[str] = []
    run_ratings(tmp_path, tmp_path / "out", [0], told.append)
    page = (tmp_path / "out" / "ratings.md").read_text()
    assert len(told) == 2
    for name in ("neural", "global mean", "item means", "item means and own offset"):
        assert page.count(f"| {name} |") == 2
