"""The Flower ServerApp: reads the run's job, gathers the clients, drives the rounds."""

from __future__ import annotations

import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.config import Settings, read_json
from common.errors import Code, ConfigError, RunError
from common.job import Job
from common.privacy.roster import ClientName, Roster
from common.privacy.signing import PublicKey
from server.keys import HOME_SETTING, key_of, server_home
from server.record import Observer, SilentObserver
from server.registry import Registry
from server.roster import gather
from server.rounds import Rounds
from server.seen import RECORD_MARK

__all__ = ["JOB_FILE", "ROSTER_FILE", "app", "make_app", "read_job", "read_roster"]

JOB_FILE = "job.json"
ROSTER_FILE = "roster.toml"


class _RosterFile(Settings):
    """A file with the table `roster` of a policy, and nothing else."""

    roster: dict[ClientName, PublicKey]


def make_app(
    run: Path | None = None, observer: Observer | None = None, *, record_sums: bool | None = None
) -> ServerApp:
    """A ServerApp for one run.

    Args:
        run: folder with `job.json`; None reads it from the run configuration's `run`. The
            server's home is the run configuration's `server-home`; see `server_home`.
        observer: told about every round.
        record_sums: keep what the server receives in secure sums; None does so if there is a
            file `record_sums` in the run's folder.
    """
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        folder = run if run is not None else _folder(context)
        home = server_home(folder, context.run_config.get(HOME_SETTING, ""))
        job = read_job(folder)
        key_of(job, home)  # before anybody is asked anything
        roster = read_roster(folder)
        _wait_for_nodes(grid, job.clients)
        Rounds(
            grid=grid,
            job=job,
            members=gather(grid, job, roster),
            registry=Registry(folder / "server"),
            observer=observer if observer is not None else SilentObserver(),
            home=home,
            roster=roster,
            record_sums=(folder / RECORD_MARK).exists() if record_sums is None else record_sums,
        ).run()

    return server_app


def read_job(folder: Path) -> Job:
    """The job of a run folder.

    Raises:
        RunError: `run-not-found`, there is none.
        ConfigError: the job is malformed.
    """
    path = folder / JOB_FILE
    try:
        values = read_json(path)
    except (ConfigError, OSError) as error:
        raise RunError(
            Code.RUN_NOT_FOUND,
            f"no job that can be read: {getattr(error, 'message', error)}",
            where=str(path),
            remedy="Prepare one with `hushrec simulate --prepare --out DIR`.",
        ) from None
    return Job.load(values, where=str(path))


def read_roster(folder: Path) -> Roster | None:
    """The roster of a run's clients, from the same table as in their policies; None without it.

    Mode `distributed` needs it: who is not on it, or signs wrongly, is dropped and stops nobody.

    Raises:
        ConfigError: it cannot be read.
        PolicyError: `policy-roster`, two clients share a key.
    """
    path = folder / ROSTER_FILE
    if not path.exists():
        return None
    return Roster.of(_RosterFile.load_toml(path).roster)


def _folder(context: Context) -> Path:
    run = context.run_config.get("run")
    if not isinstance(run, str) or not run:
        raise ConfigError(
            Code.CONFIG_INVALID,
            "no run folder given.",
            where="run configuration `run`",
            remedy="Use `flwr run . --run-config 'run=\"/path/to/run\"'`.",
        )
    return Path(run)


def _wait_for_nodes(grid: Grid, expected: int, limit_seconds: float = 120.0) -> None:
    """Give nodes that are still starting time to appear; go on with those that did."""
    deadline = time.monotonic() + limit_seconds
    while len(list(grid.get_node_ids())) < expected and time.monotonic() < deadline:
        time.sleep(0.05)


app = make_app()
