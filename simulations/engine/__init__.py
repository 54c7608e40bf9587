"""One interface, two engines: the same apps as in deployment, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from server.record import Observer
from simulations.engine.inprocess import InProcessEngine
from simulations.engine.ray import RayEngine

__all__ = ["ENGINES", "Engine"]


class Engine(Protocol):
    """Runs the ServerApp and all ClientApps of a prepared run folder to the end."""

    def run(self, run: Path, observer: Observer) -> None:
        """Run the job in `run`, or what remains of it.

        Raises:
            RunError: the job cannot start or go on.
        """
        ...


ENGINES: dict[str, type[Engine]] = {"inprocess": InProcessEngine, "ray": RayEngine}
"""By the name that `--engine` takes."""
