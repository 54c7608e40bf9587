"""A run's folder: who may use it, what is in it, and nothing overwritten by accident."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from typing import Any, Final

from common.config import read_json
from common.errors import Code, RunError
from common.files import write_atomic
from common.job import Job
from server.app import JOB_FILE
from server.registry import Registry
from simulations.scenario import Scenario

__all__ = ["RunFolder", "versions"]

_LOCK: Final = ".lock"
_DATA: Final = "data.json"
_LIBRARIES: Final = (
    "hushrec", "flwr", "torch", "opacus", "numpy", "pandas", "scipy", "dp-accounting", "randomgen"
)  # fmt: skip


@dataclass(frozen=True)
class RunFolder:
    """Paths and files of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path, *, force: bool) -> RunFolder:
        """An empty folder for a new run.

        Raises:
            RunError: `run-exists`, the folder holds something and `force` was not said;
                `run-in-use`, another process works in it.
        """
        folder = cls(path)
        if _is_occupied(path):
            if not force:
                raise _exists(
                    path, "the folder is not empty.", ", continue it with --resume, or say --force"
                )
            if not folder.is_run():
                raise _exists(
                    path, "it holds something that is not a run: --force does not touch it.", ""
                )
            with folder.lock():
                shutil.rmtree(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                Code.DATA_NOT_FOUND,
                f"the folder cannot be made: {error.strerror}.",
                where=str(path),
                remedy="Choose another --out.",
            ) from None
        return folder

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Lay out a run: hold the folder meanwhile, and leave nothing in it if that fails.

        Raises:
            RunError: `run-in-use` or `run-exists`, another process was faster.
        """
        with self.lock():
            if any(entry.name != _LOCK for entry in self.path.iterdir()):
                raise _exists(self.path, "another process has laid out a run here.", "")
            try:
                yield
            except BaseException:
                shutil.rmtree(self.path, ignore_errors=True)
                raise

    def is_run(self) -> bool:
        """Whether this is a run that was laid out whole, by what only `prepare` writes."""
        marks = ("versions.json", "scenario.json", JOB_FILE)
        return all((self.path / mark).is_file() for mark in marks)

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """The folder of a run that was begun.

        Raises:
            RunError: `run-not-found`, there is none.
        """
        if not cls(path).is_run():
            raise RunError(
                Code.RUN_NOT_FOUND,
                "no run was prepared here.",
                where=str(path),
                remedy="Check the path, or start a run with --out.",
            )
        return cls(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder; the kernel lets go when the process ends, however it ends.

        Raises:
            RunError: `run-in-use`, another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise RunError(
                Code.RUN_IN_USE,
                "another process is working in this folder.",
                where=str(self.path),
                remedy="Wait until it ends, or choose another --out.",
            ) from None
        try:
            yield
        finally:
            os.close(handle)

    @property
    def clients(self) -> Path:
        """Folder of the clients' folders."""
        return self.path / "clients"

    @property
    def registry(self) -> Registry:
        """Checkpoints and model."""
        return Registry(self.path / "server")

    @property
    def scenario(self) -> Scenario:
        """What was asked for."""
        path = self.path / "scenario.json"
        return Scenario.load(read_json(path), where=str(path))

    def write_start(self, scenario: Scenario, data: Mapping[str, str], job: Job) -> None:
        """Scenario and versions first, the job last: with it the run counts as prepared.

        Args:
            scenario: what was asked for.
            data: fingerprint of the data.
            job: what clients are asked for.
        """
        self.write_json("versions.json", versions())
        self.write_json(_DATA, data)
        write_atomic(self.path / "scenario.json", scenario.model_dump_json(indent=2).encode())
        write_atomic(self.path / JOB_FILE, job.model_dump_json(indent=2).encode())

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """One JSON file, whole or not at all."""
        write_atomic(self.path / name, json.dumps(values, indent=2, sort_keys=True).encode())

    def write_rounds(self) -> None:
        """`rounds.jsonl` from the checkpoints, so that a resumed run has every round."""
        lines = [record.model_dump_json() for record in self.registry.rounds()]
        write_atomic(self.path / "rounds.jsonl", ("\n".join(lines) + "\n").encode())

    def read_versions(self) -> dict[str, str]:
        """Versions of everything when the run was prepared."""
        found = read_json(self.path / "versions.json")
        return {name: str(value) for name, value in found.items()}

    def check_data(self, found: Mapping[str, str]) -> None:
        """Compare a fingerprint of the data with that of when the run was prepared.

        Raises:
            RunError: `run-mismatch`, something is not what it was.
            ConfigError: the file of the fingerprint is missing or damaged.
        """
        expected = read_json(self.path / _DATA)
        changed = [name for name in sorted(found) if expected.get(name) != found[name]]
        if changed:
            raise RunError(
                Code.RUN_MISMATCH,
                f"the data are not what they were when the run began: {', '.join(changed)}.",
                where=str(self.path),
                remedy="Put the data back, or start a new run.",
            )


def versions() -> dict[str, str]:
    """Versions of Python and of every library that decides a figure."""
    found = {"python": python_version(), "platform": platform()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "source"
    return found


def _is_occupied(path: Path) -> bool:
    """Whether anything is at `path` that a new run would disturb."""
    return path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir())))


def _exists(path: Path, what: str, also: str) -> RunError:
    return RunError(Code.RUN_EXISTS, what, where=str(path), remedy=f"Choose another --out{also}.")
