"""The trainings below a server's home, as far as their files tell."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from common.config import read_json
from common.errors import HushRecError
from common.job import Job
from common.schedule import count_steps
from server.monitor.view import RunView
from server.registry import Registry
from server.training.folder import OK, OUTCOME_FILE, RUNS, Outcome

__all__ = ["Stamp", "newest", "stamp_of", "view_run"]

_JOB: Final = "job.json"
_MODEL: Final = "model/manifest.json"
_CHANGING: Final = (
    _JOB,
    "request.toml",
    OUTCOME_FILE,
    "server/progress.json",
    f"server/{_MODEL}",
)
Stamp = tuple[int, ...]
"""When each file that tells of a run last changed: the same stamp is the same view."""


def newest(home: Path, most: int) -> tuple[list[Path], int]:
    """Folders of runs, those that changed last first, and how many are left out."""
    try:
        named = [path for path in (home / RUNS).iterdir() if not path.name.startswith(".")]
        found = [path for path in named if max(stamp_of(path))]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return [], 0
        raise
    found.sort(key=lambda path: (-max(stamp_of(path)), path.name))
    return found[:most], len(found[most:])


def stamp_of(folder: Path) -> Stamp:
    """Nanoseconds of each file's last change, 0 where there is none."""
    return tuple(_changed(folder / name) for name in _CHANGING)


def view_run(folder: Path) -> RunView:
    """One run; what cannot be read is said in it."""
    last = max(stamp_of(folder))
    known: dict[str, Any] = {
        "name": folder.name,
        "changed_at": datetime.fromtimestamp(last / 1e9, UTC) if last else None,
    }
    try:
        return RunView(**known, **_values(folder))
    except (HushRecError, OSError) as error:
        return RunView(**known, state="unreadable", problem=_said(error))


def _values(folder: Path) -> dict[str, Any]:
    """What is known of a run.

    Raises:
        HushRecError: a file cannot be read.
    """
    problem = _stopped(folder)
    if not (folder / _JOB).exists():
        return {"state": "stopped" if problem else "asked", "problem": problem}
    job = Job.load(read_json(folder / _JOB), where=_JOB)
    registry = Registry(folder / "server")
    rounds = tuple(registry.rounds())
    done = (registry.folder / _MODEL).exists()
    return {
        "state": "done" if done else "stopped" if problem else "going",
        "problem": None if done else problem,
        "solver": job.solver,
        "mode": job.mode,
        "steps": rounds[-1].of if rounds else count_steps(job),
        "rounds": rounds,
    }


def _stopped(folder: Path) -> str | None:
    """Why the last server app ended without a model, if nothing has happened since."""
    outcome = Outcome.of_run(folder)
    later = any(_changed(folder / name) > _changed(folder / OUTCOME_FILE) for name in _CHANGING)
    return None if outcome is None or outcome.code == OK or later else outcome.code


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _said(error: Exception) -> str:
    return error.code if isinstance(error, HushRecError) else type(error).__name__
