"""Trainings at intervals: the same request each time, a new job each time, nothing missed.

What was planned is in the names of the trainings' folders, `NAME-YYYYMMDD-HHMMSS`, so that a
schedule that was stopped goes on where it was: a training that was begun is finished first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from common.errors import Code, ConfigError, HushRecError
from server.training.folder import OK, Outcome, Training, checked_name, trainings
from server.training.locks import alone
from server.training.request import Request

__all__ = ["Schedule", "read_interval"]

_STAMP: Final = "%Y%m%d-%H%M%S"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_NAP_SECONDS: Final = 30.0
"""A machine that was asleep, or whose clock was set, notices so soon."""


def read_interval(text: str) -> timedelta:
    """`90s`, `30m`, `24h` or `7d`.

    Raises:
        ConfigError: `config-invalid`.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    if found is None:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{text!r} is no interval.",
            where="--every",
            remedy="Write it like 90s, 30m, 24h or 7d.",
        )
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Schedule:
    """One request, trained again and again.

    Attributes:
        home: the server's.
        name: with which its trainings' names begin.
        every: from one planned start to the next.
        request: what is asked for each time.
        drive: drives a training to its end.
        say: is told in one line what is planned, and why a training ended without a model.
        now: with a zone.
        sleep: waits so many seconds.
    """

    home: Path
    name: str
    every: timedelta
    request: Request
    drive: Callable[[Training], Outcome]
    say: Callable[[str], None]
    now: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = time.sleep

    def run(self, most: int | None = None) -> None:
        """Train at every planned start, for ever or `most` times.

        Raises:
            RunError: `run-in-use`, another schedule of that name runs here.
            ConfigError: `config-invalid`, no training can be called so.
        """
        checked_name(f"{self.name}-{_now().strftime(_STAMP)}")
        with alone(self.home, f".every-{self.name}.lock"):
            done = 0
            while most is None or done < most:
                self._drive(self._unfinished() or self._next())
                done += 1

    def last(self) -> Training | None:
        """The training that was planned last."""
        return max(self._own(), key=self._planned, default=None)

    def _next(self) -> Training:
        """The next training, once it is time."""
        last = self.last()
        start = self.now() if last is None else self._planned(last) + self.every
        if last is not None and start <= self.now():
            self.say(f"planned   for {_said(start)}, which is past: now")
            start = self.now()
        else:
            self.say(f"planned   {_said(start)}")
        while (wait := (start - self.now()).total_seconds()) > 0:
            self.sleep(min(wait, _LONGEST_NAP_SECONDS))
        return Training.create(self.home, self.request, f"{self.name}-{start.strftime(_STAMP)}")

    def _drive(self, training: Training) -> None:
        """A training that cannot go on is no reason to plan no other."""
        try:
            self.drive(training)
        except HushRecError as error:
            if error.code is Code.RUN_IN_USE:  # somebody follows it by hand
                self.say(f"waits     {training.name} is followed by another command")
                self.sleep(_LONGEST_NAP_SECONDS)
                return
            place = f"{error.where}: " if error.where else ""
            self.say(f"ended     {training.name} {error.code}: {place}{error.message}")
            outcome = Outcome.of_run(training.path)
            if outcome is None or outcome.passes:  # else it would be the unfinished one for ever
                Outcome(
                    run_id=0 if outcome is None else outcome.run_id,
                    code=str(error.code),
                    message=error.message,
                    where=error.where,
                    remedy=error.remedy,
                ).save(training.path)

    def _unfinished(self) -> Training | None:
        """The last training, if it was begun and may still come to its model."""
        last = self.last()
        if last is None:
            return None
        outcome = Outcome.of_run(last.path)
        goes_on = outcome is None or (outcome.code != OK and outcome.passes)
        return last if goes_on else None

    def _own(self) -> list[Training]:
        pattern = re.compile(rf"{re.escape(self.name)}-\d{{8}}-\d{{6}}")
        return [one for one in trainings(self.home) if pattern.fullmatch(one.name)]

    def _planned(self, training: Training) -> datetime:
        stamp = training.name.removeprefix(f"{self.name}-")
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)


def _said(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")
