"""The trainings below a server's home, as far as their files tell."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from common.config import read_json
from common.errors import HushRecError
from common.job import Job
from common.schedule import count_steps
from server.monitor.view import RunView
from server.registry import Registry

__all__ = ["RUNS", "Stamp", "newest", "stamp_of", "view_run"]

RUNS: Final = "runs"
"""Folder of the trainings, in the home."""
_JOB: Final = "job.json"
_CHANGING: Final = (
    _JOB,
    "request.toml",
    "outcome.json",
    "server/progress.json",
    "server/model/manifest.json",
)
Stamp = tuple[int, ...]
"""When each file that tells of a run last changed: the same stamp is the same view."""


def newest(home: Path, most: int) -> tuple[list[Path], int]:
    """Folders of runs, those that changed last first, and how many are left out."""
    try:
        found = [path for path in (home / RUNS).iterdir() if max(stamp_of(path))]
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
    changed = datetime.fromtimestamp(last / 1e9, UTC) if last else None
    if not (folder / _JOB).exists():
        return RunView(name=folder.name, state="asked", changed_at=changed)
    try:
        job = Job.load(read_json(folder / _JOB), where=_JOB)
        registry = Registry(folder / "server")
        rounds = tuple(registry.rounds())
        steps = rounds[-1].of if rounds else count_steps(job)
    except (HushRecError, OSError) as error:
        return RunView(
            name=folder.name, state="unreadable", problem=_said(error), changed_at=changed
        )
    done = (registry.folder / "model" / "manifest.json").exists()
    return RunView(
        name=folder.name,
        state="done" if done else "going",
        solver=job.solver,
        mode=job.mode,
        steps=steps,
        changed_at=changed,
        rounds=rounds,
    )


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _said(error: Exception) -> str:
    return error.code if isinstance(error, HushRecError) else type(error).__name__
