"""A training's folder in the server's home: `runs/NAME`, what came of it, who works in it.

request.toml    what the operator asked for; with it, the folder counts as a training
roster.toml     of the secure sums, in mode `distributed`
job.json        made of the request by the server app, once
flower.json     Flower's ids of the runs that worked on it, the last one last
resumed.json    how often a person resumed it after it had ended with an error
working.json    Flower's id of the run whose server app holds the folder
outcome.json    how the last server app ended that did not die
server/         checkpoints, records of rounds, the model
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

from pydantic import Field

from common.config import Settings, read_json
from common.errors import Code, ConfigError, HushRecError, RunError
from common.files import read_bytes, write_atomic
from server.job_files import ROSTER_FILE
from server.quorum import QuorumError
from server.training.locks import APP_LOCK, alone
from server.training.making import making, put
from server.training.request import REQUEST_FILE, Request

__all__ = [
    "OK",
    "OUTCOME_FILE",
    "RUNS",
    "Outcome",
    "Training",
    "checked_name",
    "new_name",
    "trainings",
]

RUNS: Final = "runs"
"""Folder of the trainings, in the server's home."""
OUTCOME_FILE: Final = "outcome.json"
_FLOWER_FILE: Final = "flower.json"
_WORKING_FILE: Final = "working.json"
_RESUMED_FILE: Final = "resumed.json"
OK: Final = "ok"
"""In the place of a code, where the training came to its model."""


class Outcome(Settings):
    """How a server app ended; there is none of one that was killed."""

    run_id: int = Field(ge=0)
    """Flower's id of its run."""
    code: str
    """`ok`, or why there is no model yet."""
    message: str = ""
    """What was wrong."""
    where: str = ""
    """File, setting or step."""
    remedy: str = ""
    """What to do."""
    passes: bool = False
    """Whether what ended it may pass by itself, so that another run is worth trying."""
    version: str | None = None
    """The model's version, once it is registered."""
    promotion: int | None = None
    """Number of its promotion, if it was promoted."""
    delivered: dict[str, str] = Field(default_factory=dict)
    """`ok` by client, or why it does not have the promoted model yet."""

    @classmethod
    def of_error(cls, run_id: int, error: Exception) -> Outcome:
        """From what ended it; an error that nobody foresaw has its type alone."""
        if not isinstance(error, HushRecError):
            return cls(
                run_id=run_id,
                code=str(Code.INTERNAL),
                passes=True,
                message=f"{type(error).__name__}, which nobody foresaw.",
                remedy="The trace is in the log of the process that starts server apps.",
            )
        return cls(
            run_id=run_id,
            code=str(error.code),
            message=error.message,
            where=error.where,
            remedy=error.remedy,
            passes=_passes(error),
        )

    @property
    def error(self) -> RunError:
        """What ended the training, for whoever waits for it."""
        code = Code(self.code) if self.code in set(Code) else Code.INTERNAL
        return RunError(code, self.message, where=self.where, remedy=self.remedy)

    @classmethod
    def of_run(cls, run: Path) -> Outcome | None:
        """The last outcome in a run's folder; None if there is none.

        Raises:
            ConfigError: it cannot be read.
        """
        path = run / OUTCOME_FILE
        return cls.load(read_json(path), where=str(path)) if path.exists() else None

    def save(self, run: Path) -> None:
        """Write it, in the place of the one before.

        Raises:
            DataError: it cannot be written.
        """
        write_atomic(run / OUTCOME_FILE, (self.model_dump_json(indent=2) + "\n").encode())


class _Ids(Settings):
    """`flower.json`."""

    run_ids: tuple[int, ...] = ()


class _Resumed(Settings):
    """`resumed.json`."""

    times: int = Field(default=0, ge=0)


class _Working(Settings):
    """`working.json`."""

    run_id: int
    pid: int
    """Of the process, where it runs."""


@dataclass(frozen=True)
class Training:
    """One training in a server's home.

    Attributes:
        path: its folder.
    """

    path: Path

    @classmethod
    def create(cls, home: Path, request: Request, name: str) -> Training:
        """A folder for a new training; it has its name once all its files are in it.

        Args:
            home: the server's.
            request: what is asked for.
            name: of the folder.

        Raises:
            RunError: `run-exists`, there is one of that name.
            ConfigError: `config-invalid`, no folder can be called so.
            DataError: it cannot be written, or the home has no roster for secure sums.
        """
        path = home.resolve() / RUNS / checked_name(name)
        sums = request.mode == "distributed"
        roster = read_bytes(home / ROSTER_FILE) if sums else None
        with making(path) as part:
            if roster is not None:
                write_atomic(part / ROSTER_FILE, roster)
            request.save(part)
            put(part, path)
        return cls(path)

    @classmethod
    def create_dated(cls, home: Path, request: Request) -> Training:
        """The same under a name that no training has, whoever else takes one meanwhile.

        Raises:
            DataError: as `create`.
        """
        while True:
            try:
                return cls.create(home, request, new_name(home))
            except RunError as error:
                if error.code is not Code.RUN_EXISTS:
                    raise

    @classmethod
    def existing(cls, home: Path, name: str) -> Training:
        """A training that was asked for.

        Raises:
            RunError: `run-not-found`.
        """
        path = home.resolve() / RUNS / checked_name(name)
        if not (path / REQUEST_FILE).is_file():
            known = ", ".join(one.name for one in trainings(home)) or "none"
            raise RunError(
                Code.RUN_NOT_FOUND,
                "there is no training of that name.",
                where=str(path),
                remedy=f"There are: {known}.",
            )
        return cls(path)

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.name

    @property
    def run_ids(self) -> tuple[int, ...]:
        """Flower's ids of its runs, the last one last.

        Raises:
            ConfigError: the file cannot be read.
        """
        path = self.path / _FLOWER_FILE
        if not path.exists():
            return ()
        return _Ids.load(read_json(path), where=str(path)).run_ids

    def began(self, run_id: int) -> None:
        """Keep Flower's id of a run that was started.

        Raises:
            DataError: it cannot be written.
        """
        ids = _Ids(run_ids=(*self.run_ids, run_id))
        write_atomic(self.path / _FLOWER_FILE, ids.model_dump_json().encode())

    @property
    def resumed(self) -> int:
        """How often a person has let its programs charge clients for repeats anew.

        Raises:
            ConfigError: the file cannot be read.
        """
        path = self.path / _RESUMED_FILE
        return _Resumed.load(read_json(path), where=str(path)).times if path.exists() else 0

    def resume(self) -> None:
        """A person goes on with it, where it had ended with what takes one; else nothing.

        Raises:
            ConfigError: a file of it cannot be read.
            DataError: it cannot be written.
        """
        last = Outcome.of_run(self.path)
        if last is None or last.code == OK or last.passes:
            return
        times = _Resumed(times=self.resumed + 1)
        write_atomic(self.path / _RESUMED_FILE, times.model_dump_json().encode())

    def outcome(self, run_id: int) -> Outcome | None:
        """How the server app of a run ended; None as long as it goes on, or if it died."""
        found = Outcome.of_run(self.path)
        return found if found is not None and found.run_id == run_id else None

    def is_dead(self, run_id: int) -> bool:
        """Whether the server app of a run had the folder and has it no more."""
        path = self.path / _WORKING_FILE
        if not path.exists() or _Working.load(read_json(path), where=str(path)).run_id != run_id:
            return False
        try:
            with alone(self.path, APP_LOCK):
                return True
        except RunError:
            return False

    @contextmanager
    def working(self, run_id: int, *, patience_seconds: float) -> Iterator[None]:
        """Be the server app that works in the folder.

        Raises:
            RunError: `run-in-use`, there is another and does not end.
        """
        with alone(self.path, APP_LOCK, patience_seconds=patience_seconds):
            working = _Working(run_id=run_id, pid=os.getpid())
            write_atomic(self.path / _WORKING_FILE, working.model_dump_json().encode())
            yield


def trainings(home: Path) -> list[Training]:
    """All trainings of a home, in order of name."""
    found = sorted((home / RUNS).glob(f"*/{REQUEST_FILE}"))
    return [Training(path.parent) for path in found if not path.parent.name.startswith(".")]


def new_name(home: Path) -> str:
    """A name that no training of the home has: the date and a number."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    known = {path.name for path in (home / RUNS).glob(f"{today}-*")}
    return next(f"{today}-{n}" for n in count(1) if f"{today}-{n}" not in known)


def checked_name(name: str) -> str:
    """`name`, if a folder can be called so.

    Raises:
        ConfigError: `config-invalid`.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name):
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{name!r} is no name of a training.",
            where="name",
            remedy="Take up to 64 letters, digits, `_`, `-` and dots, no dot first.",
        )
    return name


def _passes(error: HushRecError) -> bool:
    """A client may come back, a server app that hangs be given up; the rest takes a person."""
    if isinstance(error, QuorumError):
        return error.passes
    return error.code in {Code.RUN_QUORUM, Code.RUN_IN_USE}
