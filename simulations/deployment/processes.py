"""Processes by name, as a supervisor keeps them: logs, restarts, signals, and an end for all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from common.errors import Code, RunError
from simulations.deployment import keeper

__all__ = ["Processes", "Seen", "Unit", "until"]

_Found = TypeVar("_Found")
_KEEPER: Final = (sys.executable, "-I", "-S", keeper.__file__)
_LOOK_SECONDS: Final = 0.05
_FAREWELL_SECONDS: Final = 20.0
"""How long a process that was told to end may take before it is killed."""


@dataclass(frozen=True)
class Unit:
    """What is started.

    Attributes:
        name: by which it is called; also that of its log.
        command: with its arguments.
        environment: all of it.
        restart_seconds: how long after its end it is started again; None for never.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    restart_seconds: float | None = None


@dataclass(frozen=True)
class Seen:
    """A process that runs: its id, that of its parent, and its command line in one piece."""

    pid: int
    parent: int
    command: str


class Processes:
    """Processes by name; use as a context manager, which ends them all.

    Each has a session of its own and a keeper that ends whatever it leaves behind, also when
    this process is killed. A log is appended to, over all starts.

    Args:
        folder: for the logs, `NAME.log`; made if there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._units: dict[str, _Supervised] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, unit: Unit) -> None:
        """Start a unit; one of that name must not run.

        Raises:
            RunError: `run-in-use`, it runs; `internal`, it cannot be started.
        """
        if self.is_up(unit.name):
            raise RunError(Code.RUN_IN_USE, "is running already.", where=unit.name)
        supervised = _Supervised(unit, self.log_file(unit.name))
        self._units[unit.name] = supervised
        supervised.start()

    @property
    def names(self) -> tuple[str, ...]:
        """Every unit that was ever started."""
        return tuple(self._units)

    def is_up(self, name: str) -> bool:
        """Whether the process runs now; a stopped one does."""
        return name in self._units and self._units[name].pid is not None

    def pid(self, name: str) -> int | None:
        """Its process id, None while it does not run."""
        return self._units[name].pid

    def starts(self, name: str) -> int:
        """How often it was started."""
        return self._units[name].starts

    def statuses(self, name: str) -> tuple[int, ...]:
        """The exit statuses of its lives that are over, in order."""
        return tuple(self._units[name].statuses)

    def send(self, name: str, number: signal.Signals) -> bool:
        """Send a signal to the process alone; False if it does not run."""
        pid = self.pid(name)
        return pid is not None and _send(pid, number)

    def kill(self, name: str) -> bool:
        """SIGKILL, as from outside: a unit that is restarted comes back. False if it is down."""
        return self.send(name, signal.SIGKILL)

    def freeze(self, name: str) -> tuple[int, ...]:
        """Stop the process and all that it has started; their ids, for `thaw`."""
        found = tuple(one.pid for one in self.tree(name))
        return tuple(pid for pid in found if _send(pid, signal.SIGSTOP))

    @staticmethod
    def thaw(pids: tuple[int, ...]) -> None:
        """Let processes go on that were frozen; those that have ended meanwhile are no error."""
        for pid in pids:
            _send(pid, signal.SIGCONT)

    def tree(self, name: str) -> tuple[Seen, ...]:
        """The process and all that it has started, parents first; empty while it is down."""
        pid = self.pid(name)
        return () if pid is None else tuple(_family(pid))

    def stop(self, name: str, *, wait_seconds: float = _FAREWELL_SECONDS) -> int | None:
        """Tell it to end and leave it down; after a while, end it.

        Returns:
            The exit status of its last life, None if it never came to one.
        """
        return self._units[name].stop(wait_seconds)

    def restart(self, name: str) -> None:
        """Start a unit that was stopped, as it was."""
        self._units[name].start()

    def wait(self, name: str, seconds: float) -> int:
        """The exit status of a unit that ends by itself.

        Raises:
            TimeoutError: it has not ended by then.
        """
        supervised = self._units[name]
        until(lambda: supervised.pid is None, f"{name} to end", seconds)
        return supervised.statuses[-1]

    def log_file(self, name: str) -> Path:
        """Where what it says goes."""
        return self._folder / f"{name}.log"

    def log(self, name: str) -> str:
        """What it has said in all its lives."""
        path = self.log_file(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        """End everything, the last that was started first."""
        for supervised in reversed(self._units.values()):
            supervised.stop(_FAREWELL_SECONDS)


@dataclass
class _Supervised:
    """One unit and the thread that keeps it."""

    unit: Unit
    log: Path
    starts: int = 0
    statuses: list[int] = field(default_factory=list)
    _life: _Life | None = None
    _wanted: bool = False
    _thread: threading.Thread | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def pid(self) -> int | None:
        """Of the life that it has now."""
        with self._changed:
            return None if self._life is None else self._life.pid

    def start(self) -> None:
        """Have it run; returns once it does."""
        with self._changed:
            if self._wanted:
                return
            self._wanted = True
            self._begin()
            self._thread = threading.Thread(target=self._keep, name=self.unit.name, daemon=True)
            self._thread.start()

    def stop(self, wait_seconds: float) -> int | None:
        """Have it down."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()
            life, thread = self._life, self._thread
        if life is not None:
            life.end(wait_seconds)
        if thread is not None:
            thread.join()
        return self.statuses[-1] if self.statuses else None

    def _begin(self) -> None:
        self._life = _Life.begin(self.unit, self.log)
        self.starts += 1

    def _keep(self) -> None:
        while True:
            life = self._life
            status = 0 if life is None else life.wait()
            with self._changed:
                self._life = None
                self.statuses.append(status)
                pause = self.unit.restart_seconds
                if pause is None:
                    self._wanted = False
                elif self._wanted:
                    self._changed.wait_for(lambda: not self._wanted, timeout=pause)
                if not self._wanted:
                    return
                self._begin()


@dataclass(frozen=True)
class _Life:
    """A process from its start to its end, and its keeper."""

    pid: int
    keeper: subprocess.Popen[bytes]

    @classmethod
    def begin(cls, unit: Unit, log: Path) -> Self:
        with log.open("ab") as file:
            kept = subprocess.Popen(  # noqa: S603  no shell
                [*_KEEPER, *unit.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=log.parent,
                env=dict(unit.environment),
                start_new_session=True,
            )
        first = b"" if kept.stdout is None else kept.stdout.readline()
        if not first:
            kept.wait()
            raise RunError(Code.INTERNAL, f"cannot be started; see {log}.", where=unit.name)
        return cls(int(first), kept)

    def wait(self) -> int:
        status = self.keeper.wait()
        for pipe in (self.keeper.stdin, self.keeper.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def end(self, wait_seconds: float) -> None:
        """Ask the process to end, then end it; its keeper ends the rest."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            _send(self.pid, number)
        with suppress(subprocess.TimeoutExpired):
            self.keeper.wait(wait_seconds)
            return
        _send(self.pid, signal.SIGKILL)


def until(condition: Callable[[], _Found], what: str, seconds: float) -> _Found:
    """Wait for a condition that nobody tells of; its first value that is true.

    Raises:
        TimeoutError: it did not come true in time; says what.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(_LOOK_SECONDS)
    return found


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _family(pid: int) -> Iterator[Seen]:
    """A process and what it has started, parents first."""
    below: dict[int, list[int]] = {}
    for child, parent in sorted(keeper.parents().items()):
        below.setdefault(parent, []).append(child)
    waiting = [(pid, 0)]
    while waiting:
        one, parent = waiting.pop(0)
        with suppress(OSError):  # it has ended meanwhile
            line = Path(f"/proc/{one}/cmdline").read_bytes()
            yield Seen(one, parent, line.replace(b"\0", b" ").decode(errors="replace").strip())
        waiting += [(child, one) for child in below.get(one, [])]
