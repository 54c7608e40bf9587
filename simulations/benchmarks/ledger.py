"""Seconds that a ledger of 100,000 events takes to open, to ask, to verify and to export.

`python -m simulations.benchmarks.ledger [--events 100000] [--out docs/results]`

Two ledgers, both made by the store's own code: one of many jobs that repeat a few plans over
ten years, as deployed clients have it, with a receipt for every release; and the worst case,
in which no event is like another. Every figure is the best of some fresh processes: fresh,
since a deployed client is one for every message and remembers nothing; the best, since other
work on the machine only adds to it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd

from client.guard.budget import Budget
from client.ledger_store import Key, LedgerStore
from common.audit.export import read_export
from common.audit.verify import verify_export
from common.job import Job
from common.privacy.events import event_of
from common.privacy.filters import Cap
from common.privacy.heads import Receipt
from common.privacy.ledger import Row, verify
from common.privacy.ledger_index import derive
from common.privacy.plan import PrivacyPlan, Release
from common.privacy.policy import Period, Policy
from common.privacy.signing import SigningKey
from common.privacy.spending import cost_of
from common.schedule import schedule_of
from simulations.benchmarks.apart import apart
from simulations.results.pages import write_page

__all__ = ["main", "measure"]

_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
_DAYS: Final = 3650
_AIMS: Final = {"budget question": 0.05, "verify": 5.0}
_POLICY: Final = Policy(
    lifetime=Cap(epsilon=8.0, delta=1e-6), periods=(Period(days=30, epsilon=1.0),)
)
_NOTES: Final = """
The budget question: what is reserved and what is held, by the ledger's tables, through the
filter of the lifetime (ε = 8, GDP) and of one period of 30 days. Releases carry 64 bytes
each, since nothing here looks at them. Seconds are the best of {repeats} fresh processes: by
the clock on the wall, and of the processor. Load of the machine, which had other work, while
they were taken: {load}.

The budget question is linear in *distinct* events: every one is fetched and priced once by each
process, some 13 µs of it. Jobs that repeat have few. A server that never asks twice for the
same thing, or a catalogue that grows between all jobs, makes many; then aims are missed, as
the second table shows: verifying makes every planned event again, too. The sum by filter and
day, kept with the tables, would make the budget question constant.
"""


def measure(events: int, repeats: int) -> list[dict[str, Any]]:
    """One row for each ledger and question.

    Args:
        events: reservations in each ledger.
        repeats: fresh processes for each figure.
    """
    found = []
    for name, plans in (("repeating", _repeating), ("all distinct", _distinct)):
        with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
            folder = Path(scratch)
            facts = apart(partial(_build, folder, plans, events, seen=name == "repeating"))
            for what in _QUESTIONS:
                times = [apart(partial(_timed, what, folder)) for _ in range(repeats)]
                wall, processor = (min(each) for each in zip(*times, strict=True))
                row: dict[str, Any] = {"ledger": name, **facts, "what": what, "seconds": wall}
                found.append({**row, "processor": processor, "aim": _AIMS.get(what)})
                sys.stderr.write(f"{name}: {what} {wall:.4f} s\n")
    return found


def _repeating(events: int) -> Iterator[PrivacyPlan]:
    """Plans of the default solver for a catalogue of 3,706 items, at ten budgets."""
    plans = []
    for tenth in range(1, 11):
        job = Job(
            job_id="00" * 16,
            catalogue_version="0" * 64,
            n_items=3706,
            clients=8,
            population=6040,
            signal=2135.0,
            epsilon=tenth / 1000,
            delta=1e-6,
            solver="subspace",
            evaluation_share=0.05,
        )
        plans.append(schedule_of(job).plan)
    made = 0
    while made < events:
        plan = plans[made % len(plans)]
        made += len(plan.releases)
        yield plan


def _distinct(events: int) -> Iterator[PrivacyPlan]:
    """Plans of ten releases, no two alike."""
    for first in range(0, events, 10):
        releases = [
            Release(step=f"s{n}", rows=n + 1, width=64, share=1.0, noise_multiplier=1000.0)
            for n in range(first, first + 10)
        ]
        yield PrivacyPlan(
            unit="user", mode="local", delta=1e-6, epsilon=0.01, releases=tuple(releases)
        )


def _build(
    folder: Path, plans: Callable[[int], Iterator[PrivacyPlan]], events: int, *, seen: bool
) -> dict[str, int]:
    server, clock = SigningKey.create(), _Clock(events)
    with _opened(folder, clock) as ledger:
        jobs = plans(events)
        while ledger.count("reserve") < events:
            with ledger.transaction():
                for _, plan in zip(range(200), jobs, strict=False):
                    _release_all(ledger, plan, clock, server if seen else None)
        return {
            "jobs": ledger.count("admit"),
            "events": ledger.count("reserve"),
            "distinct events": len(ledger.reserved()),
            "rows": ledger.signed_head().seq + 1,
            "receipts": len(ledger.receipts()),
        }


class _Clock:
    """Time that passes evenly over ten years as events are made."""

    def __init__(self, events: int) -> None:
        self.made = 0
        self._step = timedelta(days=_DAYS) / events

    def __call__(self) -> datetime:
        return _FIRST + self.made * self._step


def _release_all(
    ledger: LedgerStore, plan: PrivacyPlan, clock: _Clock, server: SigningKey | None
) -> None:
    job_id = hashlib.sha256(str(clock.made).encode()).hexdigest()[:32]
    body = {"job_id": job_id, "fingerprint": job_id * 2, "snapshot": job_id * 2}
    ledger.append("admit", {**body, "plan": plan.model_dump(mode="json"), "server": None})
    for step, release in enumerate(plan.releases):
        clock.made += 1
        payload = hashlib.sha512(str(clock.made).encode()).digest()
        request, event = job_id * 2, event_of(release).model_dump(mode="json")
        key = {"job_id": job_id, "step": step, "session": 0, "request_hash": request}
        reserved = ledger.append("reserve", {**key, "event": event})
        spend = {"reservation": reserved.seq, "release_sha256": hashlib.sha256(payload).hexdigest()}
        stored = ledger.commit_release(Key(job_id, step, 0), request, payload, spend)
        if server is not None:
            ledger.add_receipt(Receipt.sign(server, stored.head, reserved.time))


def _opened(folder: Path, clock: _Clock | None = None) -> LedgerStore:
    path = folder / "ledger.sqlite"
    return LedgerStore.open(path, "shop", "ab" * 16, survives_power_cut=False, clock=clock)


def _ask(ledger: LedgerStore, _: Path) -> None:
    """Lifetime and period, as the guard asks before it reserves."""
    for window in Budget.read(ledger, _POLICY, _today()).windows:
        window.filter.admits(window.cost)


def _ask_rows(ledger: LedgerStore, _: Path) -> None:
    """The same from every row, as it would be without tables."""
    derived = derive(ledger.rows())
    for period in (None, *_POLICY.periods):
        since = None if period is None else _today() - timedelta(days=period.days - 1)
        chosen = _POLICY.filter(period)
        chosen.admits(cost_of(chosen, derived.counts(since) + derived.held()))


def _today() -> date:
    return (_FIRST + timedelta(days=_DAYS)).date()


def _verify_models(ledger: LedgerStore, _: Path) -> None:
    """The chain alone, through validated models."""
    verify([Row.model_validate_json(text) for text in ledger.texts()])


def _verify(ledger: LedgerStore, _: Path) -> None:
    ledger.verify()


def _export(ledger: LedgerStore, folder: Path) -> None:
    ledger.export(folder / "export.jsonl")


def _check_export(_: LedgerStore, folder: Path) -> None:
    if not verify_export(read_export(folder / "export.jsonl")).consistent:
        raise SystemExit("the export is not consistent")


_QUESTIONS: Final[Mapping[str, Callable[[LedgerStore, Path], None] | None]] = {
    "open": None,
    "budget question": _ask,
    "budget question over all rows, without tables": _ask_rows,
    "verify": _verify,
    "verify the chain alone, through validated models": _verify_models,
    "export": _export,
    "read and verify the export": _check_export,
}


def _timed(what: str, folder: Path) -> tuple[float, float]:
    """Seconds by the clock on the wall and of the processor."""
    question = _QUESTIONS[what]
    if question is None:
        begun = time.perf_counter(), time.process_time()
        _opened(folder).close()
        return time.perf_counter() - begun[0], time.process_time() - begun[1]
    with _opened(folder) as ledger:
        begun = time.perf_counter(), time.process_time()
        question(ledger, folder)
        return time.perf_counter() - begun[0], time.process_time() - begun[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    given = parser.parse_args(arguments)
    before = os.getloadavg()[0]
    rows = measure(given.events, given.repeats)
    load = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
    write_page(
        given.out,
        "ledger",
        title=f"A ledger of {given.events:,} events",
        command=f"python -m simulations.benchmarks.ledger --events {given.events}",
        notes=_notes(given.repeats, load),
        rows=rows,
        tables=_tables(rows),
    )
    sys.stdout.write(json.dumps({"runs": rows, "load": load}) + "\n")


def _notes(repeats: int, load: str) -> str:
    text = _NOTES.format(repeats=repeats, load=load)
    return "\n\n".join(part.replace("\n", " ") for part in text.strip().split("\n\n"))


def _tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    table = pd.DataFrame(rows)
    shown = ["what", "seconds", "processor", "aim"]
    facts = table.drop(columns=shown).drop_duplicates()
    tables = {"What is in them": facts}
    for name, part in table.groupby("ledger", sort=False):
        tables[f"Seconds, {name}"] = part[shown]
    return tables


if __name__ == "__main__":
    main()
