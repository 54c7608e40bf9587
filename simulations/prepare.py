"""Laying out a run: a folder for every client, the public catalogue, the job."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from client.store import CLIENT_TOML, POLICY_TOML
from common.errors import Code, ConfigError
from common.files import write_atomic, write_parquet
from common.job import Job
from common.privacy.roster import Roster
from common.schedule import schedule_of
from server.app import ROSTER_FILE
from server.keys import server_key
from server.seen import RECORD_MARK
from server.training.ordering import Parties
from server.training.ordering import make_job as order
from simulations.dataset import Dataset
from simulations.policies import policy_for, policy_toml, roster_toml
from simulations.rosters import make_roster
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

__all__ = ["client_names", "declared_population", "make_job", "prepare"]

_EVENT_COLUMNS = ["user_id", "item_id", "weight", "datetime"]
_NO_ROSTER: Final = "0" * 64
"""Digest in a job whose clients have no keys yet; no roster has it."""


def declared_population(users: int) -> int:
    """The public constant that stands for a client's size in simulation.

    The largest number of two significant digits that is not above the count. A real client
    declares one without counting.
    """
    unit = int(10 ** max(0, int(math.log10(users)) - 1))
    return users // unit * unit


def client_names(dataset: Dataset) -> dict[str, str]:
    """A folder name for every client of the partition.

    Raises:
        ConfigError: `config-invalid`, two names become one.
    """
    names = {name: _folder_name(name) for name in dataset.partition.names}
    if len(set(names.values())) < len(names):
        raise ConfigError(
            Code.CONFIG_INVALID, "two clients would share a folder name.", where="partition"
        )
    return names


def _folder_name(name: str) -> str:
    """`name` with what a path or a client may not be called taken out: `..` is a client too."""
    return re.sub(r"[^\w.-]+", "-", name)[:64].strip(".") or "unnamed"


def make_job(scenario: Scenario, dataset: Dataset) -> Job:
    """The job that a scenario asks for, priced and found possible.

    `prepare` adds the server and the roster: their keys are made with the folder.

    Raises:
        ConfigError: unknown solver or settings; one client in mode `distributed`; `model-kind`,
            the solver makes another kind of model than the scenario names.
        PolicyError: `policy-threshold`, too few honest clients for secure sums.
        PlanError: no plan meets ε, δ and unit.
    """
    declared = [declared_population(size) for size in dataset.partition.sizes]
    job = order(scenario, dataset.catalogue, Parties(declared, len(declared), roster=_NO_ROSTER))
    policy_for(job, lifetime_epsilon=scenario.lifetime_epsilon)
    _check_kind(scenario, schedule_of(job).solver.model_kind)
    return job


def _check_kind(scenario: Scenario, made: str) -> None:
    if scenario.model not in (None, made):
        raise ConfigError(
            Code.MODEL_KIND,
            f"solver {scenario.solver!r} makes a model of kind {made!r}, not {scenario.model!r}.",
            where="model",
            remedy="Choose another solver, or leave the kind to it.",
        )


def prepare(folder: RunFolder, scenario: Scenario, dataset: Dataset, job: Job) -> Job:
    """Write the keys and every client's folder, then what makes the run count as prepared.

    Returns:
        The job as it is written: it names the run's server, and the roster where there is one.

    Raises:
        DataError: `disk-full`, or the folder cannot be written; nothing is left behind.
        RunError: another process was faster.
    """
    with folder.fresh():
        known = {"server": server_key(folder.path).public}
        roster = _roster(folder, dataset) if job.mode == "distributed" else None
        if roster is not None:
            known["roster"] = roster.digest
        job = job.model_copy(update=known)
        _write(folder, scenario, dataset, job, roster)
    return job


def _roster(folder: RunFolder, dataset: Dataset) -> Roster:
    return make_roster(folder.clients / name for name in client_names(dataset).values())


def _write(
    folder: RunFolder, scenario: Scenario, dataset: Dataset, job: Job, roster: Roster | None
) -> None:
    policy = policy_toml(policy_for(job, roster, lifetime_epsilon=scenario.lifetime_epsilon))
    dataset.catalogue.save(folder.path / "catalogue.json")
    if dataset.rejected is not None and dataset.rejected.n_rows:
        dataset.rejected.write(folder.path / "rejected.csv")
    names = client_names(dataset)
    train = dataset.partition.split(dataset.split.train[_EVENT_COLUMNS])
    heldout = dataset.partition.split(dataset.split.heldout[["user_id", "item_id"]])
    sizes = dict(zip(dataset.partition.names, dataset.partition.sizes, strict=True))
    for name, short in names.items():
        _write_client(
            folder.clients / short,
            train[name],
            heldout[name].drop_duplicates("user_id"),
            {CLIENT_TOML: _client_toml(short, scenario, sizes[name]), POLICY_TOML: policy},
        )
    if roster is not None:
        write_atomic(folder.path / ROSTER_FILE, roster_toml(roster).encode())
    if scenario.record_sums:
        write_atomic(folder.path / RECORD_MARK, b"")
    folder.write_start(scenario, dataset.fingerprint(), job)


def _write_client(
    folder: Path, train: pd.DataFrame, heldout: pd.DataFrame, settings: Mapping[str, str]
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    write_parquet(folder / "events.parquet", train)
    write_parquet(folder / "heldout.parquet", heldout)
    for name, toml in settings.items():
        write_atomic(folder / name, toml.encode())


def _client_toml(name: str, scenario: Scenario, users: int) -> str:
    dataset_id = hashlib.sha256(f"simulated|{name}|{secrets.token_hex(16)}".encode()).hexdigest()
    lines = [
        f'name = "{name}"',
        f'dataset_id = "{dataset_id[:32]}"',
        f"population = {declared_population(users)}",
        'catalogue = "../../catalogue.json"',
        "simulated = true",
    ]
    if scenario.mode == "none":
        lines.append("no_privacy = true")
    if scenario.fixed_noise:
        lines.append(f"noise_seed = {scenario.seed}")
    return "\n".join(lines) + "\n"
