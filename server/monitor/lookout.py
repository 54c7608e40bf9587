"""Looks at a server's home, and remembers what cannot have changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from common.enrolment.standing import certificate_item
from common.errors import Code, ConfigError, HushRecError, RunError
from common.probe import is_well
from server.enroll.home import CA, TLS, invitation_of
from server.models import Models
from server.monitor.members import LOG, tail, view_door, view_members
from server.monitor.runs import Stamp, newest, stamp_of, view_run
from server.monitor.view import CertificateView, HomeView, MemberView, ModelView, RunView
from server.training.folder import RUNS

__all__ = ["MOST_RUNS", "Lookout", "look_at_run"]

MOST_RUNS: Final = 20
"""Runs that are shown; a metric of each is kept by whoever collects them."""
_T = TypeVar("_T")


@dataclass
class Lookout:
    """Looks at one home, for as many threads as ask.

    Attributes:
        home: the server's.
        probe: HOST:PORT where the gateway is asked whether it is there; empty: not asked.
        rest_seconds: how long a look is good enough for the next who asks.
        most_runs: how many runs are looked at.
    """

    home: Path
    probe: str = ""
    rest_seconds: float = 2.0
    most_runs: int = MOST_RUNS
    _lock: Lock = field(default_factory=Lock)
    _runs: dict[str, tuple[Stamp, RunView]] = field(default_factory=dict)
    _last: tuple[float, HomeView] | None = None

    @classmethod
    def of(cls, home: Path, probe: str | None = None) -> Lookout:
        """For a home that was enrolled.

        Args:
            home: the server's.
            probe: HOST:PORT of the gateway; None takes what clients are told.

        Raises:
            ConfigError: no server was enrolled here, or its invitation was changed.
        """
        invited = invitation_of(home).superlink
        return cls(home.resolve(), invited if probe is None else probe)

    def look(self) -> HomeView:
        """What there is to see. What cannot be read is said in it, and the rest is there."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] >= self.rest_seconds:
                self._last = (now, self._look())
            return self._last[1]

    def _look(self) -> HomeView:
        problems: list[str] = []

        def kept(what: str, read: Callable[[], _T], otherwise: _T) -> _T:
            try:
                return read()
            except (HushRecError, OSError, ValueError) as error:
                problems.append(f"{what}: {_said(error)}")
                return otherwise

        nobody: tuple[MemberView, ...] = ()
        nothing: tuple[tuple[RunView, ...], int] = ((), 0)
        no_model: tuple[ModelView | None, int] = (None, 0)
        lines = tail(self.home / LOG)
        model, versions = kept("models", lambda: _model(self.home), no_model)
        runs, older = kept("runs", self._look_at_runs, nothing)
        return HomeView(
            home=str(self.home),
            at=datetime.now(UTC).replace(microsecond=0),
            is_up=_is_up(self.probe, self.home / CA),
            runs=runs,
            older_runs=older,
            members=kept("members", lambda: view_members(self.home, lines), nobody),
            model=model,
            versions=versions,
            certificates=_certificates(self.home),
            door=view_door(lines),
            problems=tuple(problems),
        )

    def _look_at_runs(self) -> tuple[tuple[RunView, ...], int]:
        folders, older = newest(self.home, self.most_runs)
        views: dict[str, tuple[Stamp, RunView]] = {}
        for folder in folders:
            stamp = stamp_of(folder)
            before = self._runs.get(folder.name)
            if before is None or before[0] != stamp:
                before = (stamp, view_run(folder))
            views[folder.name] = before
        self._runs = views
        return tuple(view for _, view in views.values()), older


def look_at_run(home: Path, name: str) -> RunView:
    """One run by name.

    Raises:
        RunError: `run-not-found`.
    """
    folder = home / RUNS / name
    if Path(name).name != name or not max(stamp_of(folder)):
        raise RunError(
            Code.RUN_NOT_FOUND,
            "no such run.",
            where=str(folder),
            remedy=f"`hushrec server status {home}` lists them.",
        )
    return view_run(folder)


def _is_up(address: str, roots: Path) -> bool | None:
    """Whether the gateway answers as clients would have it: with its certificate."""
    return is_well(f"https://{address}/health", roots) if address else None


def _model(home: Path) -> tuple[ModelView | None, int]:
    """What is promoted, and how many models there are.

    Raises:
        ArtifactError: what is said about them is damaged.
    """
    models = Models(home)
    current, versions = models.current, len(models.versions())
    if current is None:
        return None, versions
    at = datetime.fromisoformat(current.at)
    return ModelView(serial=current.serial, version=current.version, promoted_at=at), versions


def _certificates(home: Path) -> tuple[CertificateView, ...]:
    now = datetime.now(UTC)
    items = [
        ("tls", certificate_item(home / TLS, now, "")),
        ("authority", certificate_item(home / CA, now, "")),
    ]
    return tuple(
        CertificateView(name=name, state=item.state, days=item.days_left, ends=item.expires)
        for name, item in items
    )


def _said(error: Exception) -> str:
    if isinstance(error, HushRecError):
        where = f" {error.where}" if isinstance(error, ConfigError) else ""
        return f"{error.code}{where}"
    return type(error).__name__
