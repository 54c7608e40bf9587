"""One run from a scenario to its report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from client.store import ClientStore
from common.arrays import Floats
from common.files import write_parquet
from common.job import Job
from common.privacy.stream import NoiseSource
from server.app import read_job
from simulations.controls import noised_popularity
from simulations.dataset import Dataset, load_dataset
from simulations.engine import ENGINES
from simulations.engine.folders import client_folders
from simulations.live import LiveView
from simulations.measure import measure, shops_of
from simulations.prepare import make_job, prepare
from simulations.private_metrics import exact_metrics, released_metrics, with_exact
from simulations.report import write_report
from simulations.report.build import build_report
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario
from simulations.spending import read_ledgers
from simulations.summary import summarise

__all__ = ["prepare_run", "resume_run", "start_run"]


@dataclass
class _Clock:
    """Seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


def prepare_run(scenario: Scenario, out: Path, *, force: bool) -> RunFolder:
    """Lay a run out without running it, for `flwr run .` or a later `--resume`.

    Raises:
        HushRecError: settings, data, plan or folder are not in order; nothing is left behind.
    """
    folder, _, _ = _prepare(scenario, out, _Clock(), force=force)
    return folder


def start_run(scenario: Scenario, out: Path, view: LiveView, *, force: bool) -> dict[str, Any]:
    """Run a scenario from the beginning; returns the final object.

    Raises:
        HushRecError: anything that stops it; what was done stays and can be resumed.
    """
    clock = _Clock()
    view.tell("preparing")
    folder, dataset, job = _prepare(scenario, out, clock, force=force)
    with folder.lock():
        return _run(folder, scenario, dataset, job, view, clock)


def resume_run(out: Path, view: LiveView) -> dict[str, Any]:
    """Continue a run where it stopped, with the same job, clients and ledgers.

    Raises:
        RunError: `run-not-found`, or `run-mismatch` when the data are not what they were.
        HushRecError: anything else that stops it.
    """
    folder = RunFolder.existing(out)
    with folder.lock():
        clock = _Clock()
        scenario, job = folder.scenario, read_job(out)
        with clock.phase("load"):
            dataset = load_dataset(scenario)
        folder.check_data(dataset.fingerprint())
        view.resume(folder.registry.rounds())
        return _run(folder, scenario, dataset, job, view, clock)


def _prepare(
    scenario: Scenario, out: Path, clock: _Clock, *, force: bool
) -> tuple[RunFolder, Dataset, Job]:
    """Everything that can be wrong is found before the folder is touched."""
    scenario.checked()
    with clock.phase("load"):
        dataset = load_dataset(scenario)
    with clock.phase("plan"):
        job = make_job(scenario, dataset)
    with clock.phase("prepare"):
        folder = RunFolder.create(out, force=force)
        job = prepare(folder, scenario, dataset, job)
    return folder, dataset, job


def _run(
    folder: RunFolder,
    scenario: Scenario,
    dataset: Dataset,
    job: Job,
    view: LiveView,
    clock: _Clock,
) -> dict[str, Any]:
    with clock.phase("train"):
        view.tell("training")
        ENGINES[scenario.engine]().run(folder.path, view)
    folder.write_rounds()
    with clock.phase("evaluate"):
        model, _ = folder.registry.model(dataset.catalogue.version)
        stores = [ClientStore.open(path) for path in client_folders(folder.path)]
        measured = measure(
            model,
            dataset.split,
            shops_of(dataset.split, dataset.partition),
            seed=scenario.seed,
            noised_popularity=_control(scenario, job, stores),
            central=job.mode != "local",
            progress=view.tell,
        )
        write_parquet(folder.path / "users.parquet", measured.per_user())
        released = released_metrics(folder.registry, job)
        exact = None if released is None else exact_metrics(model, stores)
    with clock.phase("report"):
        view.tell("report")
        ledgers = read_ledgers(stores, job.delta)
        rounds = folder.registry.rounds()
        summary = summarise(
            run=folder.path,
            scenario=scenario,
            job=job,
            measured=measured,
            ledgers=ledgers,
            rounds=rounds,
            seconds=clock.seconds,
            private_metrics=None
            if released is None or exact is None
            else with_exact(released, exact),
            warnings=dataset.warnings,
        )
        lists = {"answered", "refused", "sessions"}
        lines = [record.model_dump(exclude=lists) for record in rounds]
        write_parquet(folder.path / "rounds.parquet", pd.DataFrame(lines))
        report = build_report(
            folder, scenario, dataset, job, measured, ledgers, released, exact, summary
        )
        write_report(report, folder.path / "report.html")
    summary["seconds"] = {name: round(value, 3) for name, value in clock.seconds.items()}
    folder.write_json("summary.json", summary)
    view.tell("done")
    return summary


def _control(scenario: Scenario, job: Job, stores: Sequence[ClientStore]) -> Floats | None:
    """Noised popularity with the whole budget, where there is one."""
    if job.mode == "none":
        return None
    noise = NoiseSource.seeded(job.seed) if scenario.fixed_noise else NoiseSource.system()
    return noised_popularity(job, stores, noise)
