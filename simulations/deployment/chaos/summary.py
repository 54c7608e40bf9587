"""What a campaign came to, in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from simulations.deployment.chaos.campaign import Result
from simulations.deployment.chaos.faults import PLACES

__all__ = ["summary"]


def summary(results: Sequence[Result]) -> Iterator[str]:
    """Lines of Markdown: what happened to whom, how the runs ended, what did not hold."""
    ends = Counter(result.values["ended"] or "silence" for result in results)
    faults = [fault for result in results for fault in result.values["faults"]]
    happened = [fault for fault in faults if fault["happened_at"] is not None]
    seconds = [result.values["seconds"] for result in results]
    yield (
        f"{len(results)} runs, {len(happened)} faults that happened, "
        f"{len(faults) - len(happened)} that found nobody; "
        f"median {median(seconds):.0f} s a run, longest {max(seconds):.0f} s."
    )
    said = ", ".join(f"{code} {count}" for code, count in sorted(ends.items()))
    yield f"Ended: {said}."
    yield f"Violations: {sum(len(result.violations) for result in results)}."
    kinds = sorted({kind for known in PLACES.values() for kind in known})
    yield ""
    yield f"| to whom | {' | '.join(kinds)} |"
    yield f"|---|{'---|' * len(kinds)}"
    counts = Counter((fault["place"], fault["kind"]) for fault in happened)
    for place, known in PLACES.items():
        cells = [str(counts[place, kind]) if kind in known else "–" for kind in kinds]
        yield f"| {place} | {' | '.join(cells)} |"
    for result in results:
        for violation in result.violations:
            yield f"- run {result.values['run']}: {violation}"
