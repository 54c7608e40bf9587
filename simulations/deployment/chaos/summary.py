"""What a campaign came to, in words and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import pandas as pd

from simulations.deployment.chaos.campaign import Result
from simulations.deployment.chaos.faults import PLACES
from simulations.results.pages import write_page

__all__ = ["happened", "summary", "write_results"]

_NOTES: Final = """\
Four shops of 100 users, the server and its superexec are processes on one machine, each shop
behind a relay with an address of its own. A training of two steps is disturbed one to three
times, at moments drawn from the seed; every fifth one sums securely. After each the disks of all
parties are looked at; what is looked for is in the
[guide](../guide/deployment.md#what-it-survives).
"""


def summary(results: Sequence[Result]) -> str:
    """How the runs ended, and everything that did not hold, in a few lines."""
    ends = Counter(result.values["ended"] or "silence" for result in results)
    faults = _faults(results)
    found_nobody = len(faults) - len(_happened(faults))
    seconds = [result.values["seconds"] for result in results]
    again = sum(result.values["flower_runs"] > 1 for result in results)
    count = f"{len(faults) - found_nobody} faults that happened, {found_nobody} that found nobody"
    time = f"median {median(seconds):.0f} s a run, longest {max(seconds):.0f} s"
    lines = [
        f"{len(results)} runs, {count}; {time}. In {again} another server app had to go on.",
        f"Ended: {', '.join(f'{code} {times}' for code, times in sorted(ends.items()))}.",
        f"Violations: {sum(len(result.violations) for result in results)}.",
    ]
    for result in results:
        lines += [f"- run {result.values['run']}: {said}" for said in result.violations]
    return "\n".join(lines)


def happened(results: Sequence[Result]) -> pd.DataFrame:
    """How often what happened to whom."""
    kinds = sorted({kind for known in PLACES.values() for kind in known})
    counts = Counter((fault["place"], fault["kind"]) for fault in _happened(_faults(results)))
    rows = [
        {"to whom": place, **{k: counts[place, k] if k in known else "–" for k in kinds}}
        for place, known in PLACES.items()
    ]
    return pd.DataFrame(rows)


def write_results(folder: Path, command: str, results: Sequence[Result]) -> None:
    """Write `chaos.md` and `chaos.json`."""
    write_page(
        folder,
        "chaos",
        title="Trainings that are disturbed",
        command=command,
        notes=f"{' '.join(_NOTES.split())}\n\n{summary(results)}",
        rows=[result.values for result in results],
        tables={"Faults that happened": happened(results)},
    )


def _faults(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [fault for result in results for fault in result.values["faults"]]


def _happened(faults: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [fault for fault in faults if fault["happened_at"] is not None]
