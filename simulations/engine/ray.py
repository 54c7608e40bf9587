"""Flower's own simulation engine: the same apps, each client call in a Ray worker."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from client.app import make_app as make_client_app
from common.errors import Code, RunError
from server.app import make_app as make_server_app
from server.record import Observer
from simulations.engine.folders import client_folders

__all__ = ["RayEngine"]

_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray gives a tip at every start
}
_BACKEND: Final[dict[str, Any]] = {
    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    "init_args": {"log_to_driver": False},  # what workers print would tear the live table
}


class RayEngine:
    """Runs a prepared folder on Ray, on this machine or a Ray cluster that sees the folder."""

    def run(self, run: Path, observer: Observer) -> None:
        """Run the job in `run`, or what remains of it.

        Raises:
            RunError: the job cannot start or go on.
        """
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from flwr.simulation import run_simulation  # brings Ray; only when it is asked for

        with _quiet(), _stopping() as stop:
            run_simulation(
                server_app=_stoppable(make_server_app(run.resolve(), observer), stop),
                client_app=make_client_app(run.resolve()),
                num_supernodes=len(client_folders(run)),
                backend_name="ray",
                backend_config={**_BACKEND},
            )


def _stoppable(inner: ServerApp, stop: Event) -> ServerApp:
    """`inner`, which gives up waiting for clients once `stop` is set.

    Flower runs it in a thread that Ctrl-C does not reach, and the process would wait for
    that thread, which waits for replies of clients that are gone.
    """
    outer = ServerApp()

    @outer.main()
    def main(grid: Grid, context: Context) -> None:
        pull = grid.pull_messages

        def pull_or_give_up(message_ids: Iterable[str]) -> Iterable[Message]:
            if stop.is_set():
                raise RunError(Code.RUN_QUORUM, "the simulation was stopped.", where="ray")
            return pull(message_ids)

        grid.pull_messages = pull_or_give_up  # type: ignore[method-assign]
        inner(grid, context)

    return outer


@contextmanager
def _stopping() -> Iterator[Event]:
    """An event that is set when the block ends, however it ends."""
    stop = Event()
    try:
        yield stop
    finally:
        stop.set()


@contextmanager
def _quiet() -> Iterator[None]:
    """`run_simulation` says that it is deprecated; `flwr run` in its place needs a SuperLink."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(before)
