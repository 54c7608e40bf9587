"""The Flower ServerApp: finds the run's folder, and drives its job or its training."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.catalogue import Catalogue
from common.errors import Code, ConfigError
from server.enroll.home import CATALOGUE
from server.job_files import JOB_FILE, ROSTER_FILE, read_job, read_roster
from server.keys import HOME_SETTING, key_of, server_home
from server.record import Observer, SilentObserver
from server.registry import Registry
from server.roster import Attendance
from server.rounds import Rounds
from server.seen import RECORD_MARK
from server.training.conduct import Conductor
from server.training.finishing import deliver_promoted
from server.training.request import Request

__all__ = ["JOB_FILE", "ROSTER_FILE", "app", "make_app", "read_job", "read_roster"]

RUN_SETTING: Final = "run"
DELIVER_SETTING: Final = "deliver"
"""Run configuration key: not empty, and the promoted model is delivered, nothing else."""
_WAIT_SECONDS: Final = 120.0
"""Nodes that are still starting have so long to appear; the run goes on with those that did."""
_HELLO_SECONDS: Final = 600.0
"""How long nodes have to say who they are."""


def make_app(
    run: Path | None = None, observer: Observer | None = None, *, record_sums: bool | None = None
) -> ServerApp:
    """A ServerApp for one run.

    Args:
        run: folder with `job.json`, or with `request.toml`, of which the job is made; None
            reads it from the run configuration's `run`. The server's home is the run
            configuration's `server-home`; see `server_home`.
        observer: told about every round.
        record_sums: keep what the server receives in secure sums; None does so if there is a
            file `record_sums` in the run's folder.
    """
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        if context.run_config.get(DELIVER_SETTING):
            home = _named(context, HOME_SETTING)
            deliver_promoted(grid, context.run_id, home)
            return
        folder = run if run is not None else _named(context, RUN_SETTING)
        home = server_home(folder, context.run_config.get(HOME_SETTING, ""))
        told = observer if observer is not None else SilentObserver()
        records = (folder / RECORD_MARK).exists() if record_sums is None else record_sums
        request = Request.of_run(folder)
        if request is None:
            _run_prepared(grid, folder, home, told, record_sums=records)
        else:
            conductor = Conductor(grid, folder, home, request, told, record_sums=records)
            conductor.run(context.run_id)

    return server_app


def _run_prepared(
    grid: Grid, folder: Path, home: Path, observer: Observer, *, record_sums: bool
) -> None:
    """A run whose job was made with its folder."""
    job = read_job(folder)
    key_of(job, home)  # before anybody is asked anything
    roster = read_roster(folder)
    attendance = Attendance(grid, job.catalogue_version, roster)
    attendance.wait(job.clients, _WAIT_SECONDS)
    attendance.gather(_HELLO_SECONDS)
    Rounds(
        grid=grid,
        job=job,
        members=attendance.present,
        registry=Registry(folder / "server"),
        observer=observer,
        home=home,
        roster=roster,
        record_sums=record_sums,
        catalogue=lambda: Catalogue.load(folder / CATALOGUE),
    ).run()


def _named(context: Context, setting: str) -> Path:
    """The folder that the run configuration names."""
    named = context.run_config.get(setting)
    if not isinstance(named, str) or not named:
        raise ConfigError(
            Code.CONFIG_INVALID,
            "no folder given.",
            where=f"run configuration `{setting}`",
            remedy="Use `flwr run . --run-config 'run=\"/path/to/run\"'`, or `hushrec server`.",
        )
    return Path(named)


app = make_app()
