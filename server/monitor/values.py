"""What is shown, as the objects that `--format json` prints."""

from __future__ import annotations

from typing import Any

from server.monitor.view import HomeView, RunView

__all__ = ["home_values", "run_values"]


def home_values(view: HomeView) -> dict[str, Any]:
    """A server; of every run its last round alone."""
    values = view.model_dump(mode="json", exclude={"runs"})
    runs = [run_values(run, rounds=False) for run in view.runs]
    return values | {"faults": list(view.faults), "runs": runs}


def run_values(run: RunView, *, rounds: bool) -> dict[str, Any]:
    """A run, with every round or with the last one alone."""
    dumped = [record.model_dump(mode="json") for record in run.rounds]
    values = run.model_dump(mode="json", exclude={"rounds"}) | {
        "completed": run.completed,
        "last": dumped[-1] if dumped else None,
    }
    return values | ({"rounds": dumped} if rounds else {})
