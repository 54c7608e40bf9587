"""Ratings on their whole way: a file, clients' logs, training, a report; with and without noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.store import ClientStore
from common.evaluation.protocols import leave_one_out
from simulations.dataset import load_dataset
from simulations.engine.folders import client_folders
from simulations.live import LiveView
from simulations.rating_quality import measure_ratings
from simulations.result_table import print_result
from simulations.run_folder import RunFolder
from simulations.runner import start_run
from simulations.scenario import Scenario

EXPLICIT: dict[str, Any] = {
    "loss": "explicit",
    "rating_mean": 3.25,
    "rating_scale": 1.3,
    "embedding_dim": 8,
    "head": 0,
    "blocks": 0,
    "start": "random",
    "learning_rate": 0.03,
}
OPEN: dict[str, Any] = {"mode": "none", "no_privacy": True}


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """Two tastes: who likes even items dislikes odd ones; a standard deviation of 0.4 is chance."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(90):
        for place, item in enumerate(rng.choice(24, 12, replace=False)):
            rating = (4.5 if item % 2 == user % 2 else 2.0) + rng.choice([-0.5, 0.0, 0.5])
            lines.append(f"u{user:03d},i{item},{rating},{1_600_000_000 + 1000 * place}")
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def run(ratings: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(settings: dict[str, Any], **more: Any) -> Any:
        asked = {"data": str(ratings), "clients": 3, "partition": "hash", "solver": "neural"}
        scenario = Scenario.load({**asked, **more, "settings": {**EXPLICIT, **settings}})
        with LiveView() as view:
            return start_run(scenario, tmp_path / "run", view, force=False)

    return run


def test_held_out_ratings_are_predicted_better_than_by_means(
    run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run({"rounds": 3, "local_steps": 30, "dropout": 0.0}, **OPEN)
    found = result["ratings"]
    assert set(found) == {"joint", "item-means", "global-mean"}
    assert {errors["rated"] for errors in found.values()} == {90}
    assert found["global-mean"]["rmse"] > 1.1
    assert found["joint"]["rmse"] < 0.6 * found["global-mean"]["rmse"]
    assert found["joint"]["mae"] < 0.6 * found["item-means"]["mae"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "held-out ratings" in page
    assert f"{found['joint']['rmse']:.4f}" in page
    print_result(result)
    assert f"{found['joint']['rmse']:.4f}" in capsys.readouterr().out
    _logs_have_them(tmp_path / "run")


def _logs_have_them(folder: Path) -> None:
    dataset = load_dataset(RunFolder(folder).scenario)
    split, stores = dataset.split, [ClientStore.open(path) for path in client_folders(folder)]
    rated = {
        (user, item): weight
        for store in stores
        for user, item, weight in zip(
            np.array(store.user_ids)[store.rated.user_of_event],
            np.array(store.catalogue.item_ids)[store.rated.items],
            store.rated.weights,
            strict=True,
        )
    }
    assert len(rated) == len(split.train)
    for row in split.train.itertuples():
        assert rated[row.user_id, row.item_id] == row.weight


@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_a_private_run_predicts_ratings_and_keeps_its_guarantee(
    run: Callable[..., Any], mode: str, tmp_path: Path
) -> None:
    start = {"start": "subspace", "subspace": {"rounds": 1, "embedding_dim": 4}}
    result = run({"rounds": 2, **start}, mode=mode, epsilon=8.0, evaluation_share=0.2)
    assert result["privacy"]["private"]
    assert 0 < result["privacy"]["epsilon"] <= 8.0
    assert result["refused"] == []
    assert 0 < result["ratings"]["joint"]["rmse"] < 4 * 1.3
    assert result["private_metrics"]["exact_hit_rate"] is not None
    assert "neural.subspace.embedding_dim" in (tmp_path / "run" / "report.html").read_text()


def test_of_other_models_no_ratings_are_measured(run: Callable[..., Any], tmp_path: Path) -> None:
    result = run({"loss": "implicit", "rounds": 1, "local_steps": 1}, **OPEN)
    assert result["ratings"] is None
    folder = RunFolder(tmp_path / "run")
    dataset = load_dataset(folder.scenario)
    model, _ = folder.registry.model(dataset.catalogue.version)
    assert measure_ratings(model, dataset.split) == {}
    assert "held-out ratings" not in (tmp_path / "run" / "report.html").read_text()


def test_data_without_ratings_are_told(tmp_path: Path, ratings: Path) -> None:
    bare = tmp_path / "bare.csv"
    rows = [line.split(",") for line in ratings.read_text().splitlines()]
    bare.write_text("\n".join(",".join((*row[:2], row[3])) for row in rows) + "\n")

    def warned(path: Path | None, **settings: Any) -> bool:
        asked = {"solver": "neural", "settings": settings, **OPEN}
        scenario = Scenario.load({**asked, **({} if path is None else {"data": str(path)})})
        return any("no ratings to predict" in text for text in load_dataset(scenario).warnings)

    assert warned(bare, loss="explicit")
    assert not warned(ratings, loss="explicit")
    assert not warned(bare)


def test_the_latest_rating_of_an_item_is_asked_for(ratings: Path) -> None:
    split = load_dataset(Scenario.load({"data": str(ratings)})).split
    first = split.train.iloc[[0]]
    again = first.assign(weight=1.25, datetime=first["datetime"] + pd.Timedelta(seconds=1))
    twice = leave_one_out(pd.concat([again, split.train], ignore_index=True), split.items)
    user = twice.users.get_loc(first["user_id"].iloc[0])
    mine = twice.histories.take(np.array([user]))
    item = twice.items.get_loc(first["item_id"].iloc[0])
    assert mine.weights[mine.items == item].tolist() == [1.25]
