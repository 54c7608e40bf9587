"""What a check says, and how checks are run so that a broken part never hides the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from client.owner import Owner
from client.store import ClientSettings
from common.errors import Code, HushRecError

__all__ = [
    "SKEW",
    "Check",
    "Finding",
    "Level",
    "Patient",
    "fail",
    "fine",
    "run_checks",
    "warn",
    "worst",
]

SKEW: Final = timedelta(minutes=5)
"""What is later than this from now is of the future, and a clock is wrong."""
Level: TypeAlias = Literal["ok", "warn", "fail"]
"""`fail`: something has to be done now. `warn`: somebody should know."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's, for the owner's own terminal: it may count and name.

    Attributes:
        level: how bad it is.
        what: what was found.
        where: file, address or setting.
        remedy: what to do; empty where nothing is to be done.
        code: the error that it is or becomes, if it has one.
        check: which part was looked at; filled in by who runs the check.
    """

    level: Level
    what: str
    where: str = ""
    remedy: str = ""
    code: Code | None = None
    check: str = ""

    def to_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)

    @property
    def line(self) -> str:
        """For people."""
        place = f"{self.where}: " if self.where else ""
        code = f" [{self.code}]" if self.code is not None else ""
        said = f"{place}{self.what.rstrip('.')}. {self.remedy}".strip()
        return f"{self.level:<5} {self.check:<9} {said}{code}"


@dataclass(frozen=True)
class Patient:
    """A client's folder, and when it is looked at.

    Attributes:
        folder: perhaps a client's.
        now: with a zone.
    """

    folder: Path
    now: datetime

    @cached_property
    def owner(self) -> Owner:
        """Settings, policy and ledger.

        Raises:
            ConfigError: `client.toml` is missing or cannot be meant.
        """
        return Owner.of(self.folder)

    @property
    def settings(self) -> ClientSettings:
        """Who it is.

        Raises:
            ConfigError: as `owner`.
        """
        return self.owner.settings


Check: TypeAlias = Callable[[Patient], Iterable[Finding]]
"""Looks at one part; whatever it raises is what it found."""


def fine(what: str, where: object = "") -> Finding:
    """Nothing to do."""
    return Finding("ok", what, str(where))


def warn(what: str, where: object, remedy: str, code: Code | None = None) -> Finding:
    """Somebody should know."""
    return Finding("warn", what, str(where), remedy, code)


def fail(what: str, where: object, remedy: str, code: Code | None = None) -> Finding:
    """Something has to be done now."""
    return Finding("fail", what, str(where), remedy, code)


def run_checks(checks: Iterable[tuple[str, Check]], patient: Patient) -> list[Finding]:
    """All findings in order; one that several checks met is listed once."""
    found: dict[tuple[str, str], Finding] = {}
    for name, check in checks:
        for one in _guarded(check, patient):
            found.setdefault((one.where, one.what), replace(one, check=name))
    return list(found.values())


def worst(findings: Sequence[Finding]) -> Level:
    """The level of them all together."""
    levels = {one.level for one in findings}
    order: tuple[Level, ...] = ("fail", "warn")
    return next((level for level in order if level in levels), "ok")


def _guarded(check: Check, patient: Patient) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except HushRecError as error:
        yield fail(error.message, error.where, error.remedy, error.code)
    except OSError as error:
        where = str(error.filename or patient.folder)
        yield fail(error.strerror or str(error), where, "Check the disk and the permissions.")
    except Exception as error:  # noqa: BLE001  a check that breaks is a finding, not an end
        what = f"{type(error).__name__}, which nobody foresaw"
        yield fail(what, patient.folder, "Please report it.", Code.INTERNAL)
