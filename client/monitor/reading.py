"""What a monitor knows of a client: its parts, and what its folder says without its data.

Guarantee:
    The client's events are never opened. What is read is the policy, the authority's
    certificate, which model was delivered, and the ledger: all of it declared, public, or a
    function of releases and refusals, which others have seen.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from client.budget_view import BudgetView, view_budget
from client.models import MODELS
from client.owner import Owner
from client.running.state import Parts
from common.certificates import load_certificate
from common.config import read_json
from common.errors import Code, HushRecError
from common.public_codes import as_it_leaves

__all__ = ["Model", "Reading", "Watched"]

_FRESH_SECONDS: Final = 2.0
_DAY_SECONDS: Final = 86_400
_ROOTS: Final = "ca.pem"


@dataclass(frozen=True)
class Model:
    """The model that the server has delivered."""

    serial: int
    version: str


@dataclass(frozen=True)
class Reading:
    """A client's folder at one time.

    Attributes:
        policy: the code of what is wrong with the policy, None if nothing is.
        ledger: that of the ledger.
        authority: that of the server's authority.
        days_left: whole days until the authority's certificate ends, below 0 when it has ended.
        model: what was delivered, None for nothing.
        budget: None where policy or ledger cannot be read.
        is_halted: the ledger was found to be an old one, so that nothing is released.
    """

    policy: str | None
    ledger: str | None
    authority: str | None
    days_left: int | None
    model: Model | None
    budget: BudgetView | None
    is_halted: bool

    @property
    def refusals(self) -> Mapping[str, int]:
        """Refusals by code, each as it left the client."""
        found: Counter[str] = Counter()
        for code, count in ((self.budget and self.budget.refused) or {}).items():
            found[as_it_leaves(code) or str(Code.INTERNAL)] += count
        return dict(sorted(found.items()))


@dataclass
class Watched:
    """A client that is watched. It may be read from several threads.

    Attributes:
        owner: the client.
        parts: how they are.
        fresh_seconds: for so long a reading is not made again.
    """

    owner: Owner
    parts: Parts
    fresh_seconds: float = _FRESH_SECONDS
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: tuple[float, Reading] | None = None

    def reading(self) -> Reading:
        """The folder now, or a moment ago."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > self.fresh_seconds:
                self._last = time.monotonic(), _read(self.owner, datetime.now(UTC))
            return self._last[1]


def _read(owner: Owner, now: datetime) -> Reading:
    policy = authority = None
    days, budget = None, None
    ledger, is_halted = _ledger(owner)
    try:
        _ = owner.policy
        if ledger is None:
            ledger, budget = _budget(owner, now)
    except HushRecError as error:
        policy = as_it_leaves(error.code)
    try:
        end = load_certificate(owner.folder / _ROOTS).not_valid_after_utc
        days = math.floor((end - now).total_seconds() / _DAY_SECONDS)
    except HushRecError as error:
        authority = as_it_leaves(error.code)
    return Reading(policy, ledger, authority, days, _model(owner.folder), budget, is_halted)


def _ledger(owner: Owner) -> tuple[str | None, bool]:
    """What is wrong with the ledger, whatever the policy is; whether it is an old one."""
    if not owner.has_ledger:
        return None, False
    try:
        with owner.ledger(mends=False) as ledger:
            ledger.signed_head()
            return None, ledger.last("halt") is not None
    except HushRecError as error:
        return as_it_leaves(error.code), False


def _budget(owner: Owner, now: datetime) -> tuple[str | None, BudgetView | None]:
    try:
        return None, view_budget(owner, now.date())
    except HushRecError as error:
        return as_it_leaves(error.code), None


def _model(folder: Path) -> Model | None:
    """By what the service reads first; a damaged file is the service's to tell."""
    try:
        current = read_json(folder / MODELS / "current.json")
    except HushRecError:
        return None
    serial, version = current.get("serial"), current.get("version")
    if not isinstance(serial, int) or not isinstance(version, str):
        return None
    return Model(serial, version)
