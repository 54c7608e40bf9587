"""Training a scenario through the real apps, for studies that look at the model."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.store import ClientStore
from common.arrays import Floats
from common.evaluation.baselines import PopularityScorer, popularity_counts
from common.evaluation.evaluate import evaluate
from common.evaluation.scorers import JointScorer, Scorer
from common.job import Job
from common.models.base import Model
from common.privacy.stream import NoiseSource
from server.record import SilentObserver
from simulations.controls import noised_popularity
from simulations.dataset import Dataset, load_dataset
from simulations.engine import ENGINES
from simulations.engine.folders import client_folders
from simulations.prepare import make_job, prepare
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario
from simulations.spending import read_ledgers

__all__ = ["Trained", "figures", "train"]


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        dataset: what it was trained on.
        job: what was asked.
        model: what came out.
        noised_popularity: the control at the same ε, None without privacy.
        epsilon: largest ε that any client's ledger shows, None without privacy.
        seconds: of the training, and of everything from reading the data on.
        bytes: up and down, over all clients and rounds.
    """

    dataset: Dataset
    job: Job
    model: Model
    noised_popularity: Floats | None
    epsilon: float | None
    seconds: dict[str, float]
    bytes: dict[str, int]


def train(scenario: Scenario, dataset: Dataset | None = None) -> Trained:
    """Prepare, run and read back one scenario, in a folder that is thrown away.

    Args:
        scenario: what is asked.
        dataset: instead of what the scenario reads: for a study that cuts its own.
    """
    started = time.monotonic()
    dataset = load_dataset(scenario.checked()) if dataset is None else dataset
    job = make_job(scenario, dataset)
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        folder = RunFolder.create(Path(scratch) / "run", force=False)
        prepare(folder, scenario, dataset, job)
        ready = time.monotonic()
        ENGINES[scenario.engine]().run(folder.path, SilentObserver())
        trained = time.monotonic()
        model, _ = folder.registry.model(dataset.catalogue.version)
        rounds = folder.registry.rounds()
        stores = [ClientStore.open(path) for path in client_folders(folder.path)]
        private = job.mode != "none"
        epsilon = None
        if private:
            epsilon = max(ledger.epsilon[-1] for ledger in read_ledgers(stores, job.delta))
        popularity = noised_popularity(job, stores, NoiseSource.system()) if private else None
    return Trained(
        dataset,
        job,
        model,
        popularity,
        epsilon,
        {"train": trained - ready, "all": trained - started},
        {"up": sum(r.bytes_up for r in rounds), "down": sum(r.bytes_down for r in rounds)},
    )


def figures(trained: Trained) -> dict[str, Any]:
    """HR@10 and NDCG@10 of `joint` serving and of the controls, on the scenario's split."""
    split = trained.dataset.split
    scorers: dict[str, Scorer] = {"joint": JointScorer(trained.model, split.histories)}
    scorers["popularity"] = PopularityScorer(popularity_counts(split.histories))
    if trained.noised_popularity is not None:
        scorers["noised-popularity"] = PopularityScorer(trained.noised_popularity)
    found: dict[str, Any] = {"dim": trained.model.dim, "epsilon_spent": trained.epsilon}
    for name, scorer in scorers.items():
        metrics = evaluate(scorer, split).metrics
        found[f"{name}_hr@10"] = round(metrics["hr@10"], 5)
        found[f"{name}_ndcg@10"] = round(metrics["ndcg@10"], 5)
    found["seconds_train"] = round(trained.seconds["train"], 2)
    found["megabytes"] = round(sum(trained.bytes.values()) / 1e6, 2)
    return found
