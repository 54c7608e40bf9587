"""What the figures of a private gradient step say: ratios, aims, and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from simulations.results.pages import write_page

__all__ = ["aims", "ratios", "write_step_page"]

Row = Mapping[str, Any]
_AT: Final = 20_000
_LARGE: Final = 1_000_000
_NOTES: Final = """
One step: {users} users × {events} events, {shared} negatives that all share, dim {dim}, the
vectors of all items trained, threads: {threads}. {networks}

`ours` is all that a client does to a checked state (sample, draw, windows, gradients
of each user, clip, integer sum, noise), and gives a noisy sum in float64; its state is in float64
too, as a client widens it. `plain` is the gradient of the same losses by autograd without
privacy; `noise` the fast sampler alone on the released matrix. `hooks` and `ghost` are Opacus on
a module of torch's own layers with the same parameters and loss: clip, sum and noise, without the
optimiser's step; their noise comes from torch's generator, ours from a cryptographic stream onto
a grid.

Without noise, on a small case in which half of the users are clipped, the sums of Opacus differ
from ours, in parts of its norm, by {errors}: one result, three ways.

Every variant is timed in a process of its own behind one step that is not counted; seconds are of
the best of {repeats} steps, by the clock on the wall, and of the processor, of all threads
together. Memory is the most that the process ever had, its imports (about {base:,.0f} MB) and the
tables included. Load of the machine, over the last minute, with other work on it where that is
more than a process makes alone: {load}. Aims are held against the clock; where others took it,
ratios of processor time say more.

Opacus' step contains what `plain` does (twice backward in `ghost`), so that a step can be faster
than Opacus' by at most Opacus' time over `plain`, however little privacy costs, unless it is
faster than `plain` itself. The tables of what privacy adds leave the network's own work out.

What is left of a step without its noise is what a step touches, which does not depend on the
catalogue, and the total itself: one array of integers that is made, noised and scaled. Bare noise
fills an array of its own, while in a step it is added to the sum part by part: where the catalogue
is large the rest is no clean difference.
"""
_TITLES: Final = {
    "attention": "Attention",
    "neural": "Two towers",
    "mf": "Matrix factorisation",
}
_NETWORKS: Final = {
    "attention": """`attention` has two blocks, reads one item more of each user than it predicts,
and scores every later one after what came before it.""",
    "neural": """`neural` has two towers and a head at their defaults, without features and personal
steps: about half of a user's items are pooled to one vector, and the others are looked for among
them and the negatives.""",
    "mf": """`mf` is the solver `dpsgd`: vectors of the items are the whole model, and every variant
folds its users in first (ridge regression in float64, by the same code). Opacus' module is a linear
layer from users to items up to 100,000 items, and an embedding beyond: its faster way at each size.
What users contribute does not depend on who else takes part; Opacus' sums round by the batch.""",
}


def ratios(rows: Sequence[Row], items: int, kind: str = "seconds") -> dict[str, float]:
    """How many times as long as `ours`, and `ours` over a step without privacy and noise.

    Args:
        rows: of one network, all sizes.
        items: of which size.
        kind: `seconds` or `processor`.
    """
    found = {r["variant"]: r[kind] for r in rows if r["items"] == items and kind in r}
    said = {}
    for rival in ("hooks", "ghost"):
        if rival in found and "ours" in found:
            said[f"{rival} / ours"] = found[rival] / found["ours"]
    if {"ours", "plain", "noise"} <= found.keys():
        said["ours / (plain + noise)"] = found["ours"] / (found["plain"] + found["noise"])
    return said


def aims(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each aim with what was found of one network: met, missed, or not measured."""
    here, processor = ratios(rows, _AT), ratios(rows, _AT, "processor")
    memory = [r["peak_mb"] for r in rows if r["items"] == _LARGE and r["variant"] == "ours"]
    wanted = [
        ("`hooks` over ours at 20,000 items", "hooks / ours", 20.0, "at least"),
        ("`ghost` over ours at 20,000 items", "ghost / ours", 5.0, "at least"),
        ("ours over plain and noise at 20,000 items", "ours / (plain + noise)", 1.5, "at most"),
    ]
    found = [
        {
            "what": what,
            "found": here.get(name),
            "of processor time": processor.get(name),
            "aim": f"{bound} {aim:g}",
            "": _verdict(here.get(name), aim, bound),
        }
        for what, name, aim, bound in wanted
    ]
    peak = memory[0] if memory else None
    large = {"what": "peak MB of ours at 1,000,000 items", "found": peak, "of processor time": None}
    return [*found, {**large, "aim": "at most 2000", "": _verdict(peak, 2000.0, "at most")}]


def _verdict(found: float | None, aim: float, bound: str) -> str:
    if found is None:
        return "not measured"
    return "met" if (found >= aim if bound == "at least" else found <= aim) else "missed"


def write_step_page(
    folder: Path, rows: Sequence[Row], facts: Mapping[str, Any], arguments: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Write `dp-step.md` and `dp-step.json`; the aims of each network and what was found.

    Where one network was measured alone the pages are its own, `dp-step-NETWORK`.
    """
    networks = list(facts["errors"])
    page = "dp-step" if len(networks) > 1 else f"dp-step-{networks[0]}"
    of_each = {name: [row for row in rows if row["network"] == name] for name in networks}
    tables: dict[str, pd.DataFrame] = {}
    words: dict[str, str] = {}
    for name, some in of_each.items():
        for caption, table in _tables(some).items():
            tables[f"{_TITLES[name]}: {caption}"] = table
        words[f"{_TITLES[name]}: {_PEAK}"] = _refusals(some)
    write_page(
        folder,
        page,
        title="One private gradient step",
        command=" ".join(["python -m simulations.benchmarks.dp_step", *_without_out(arguments)]),
        notes=_notes(rows, facts),
        rows=[*rows, {"errors": facts["errors"]}],
        tables=tables,
        words=words,
    )
    return {name: aims(some) for name, some in of_each.items()}


_KINDS: Final = ("seconds", "processor")
_PEAK: Final = "peak memory, MB"


def _tables(rows: Sequence[Row]) -> dict[str, pd.DataFrame]:
    """All tables of one network, by caption."""
    sizes = sorted({row["items"] for row in rows})
    return {
        "aims": pd.DataFrame(aims(rows)),
        "seconds of a step (of the processor)": _times(rows, sizes),
        _PEAK: _memory(rows, sizes),
        "ratios, by the clock (of processor time)": _ratio_table(rows, sizes),
        "what privacy adds, seconds over plain (of the processor)": _added(rows, sizes),
        "how ours grows, seconds (of the processor)": _growth(rows, sizes),
    }


def _notes(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    load, timed = facts["load"], [row for row in rows if "load" in row]
    loads = [row["load"] for row in timed]
    text = _NOTES.format(
        **{name: load[name] for name in ("users", "events", "shared", "dim", "threads")},
        networks=" ".join(_NETWORKS[name] for name in facts["errors"]),
        errors=", ".join(
            f"{error:.1e} (`{network}`, `{mode}`)"
            for network, found in facts["errors"].items()
            for mode, error in found.items()
        ),
        repeats=max((len(row["steps"]) for row in timed), default=0),
        base=min((row["base_mb"] for row in timed), default=0.0),
        load=f"{min(loads, default=0.0):.1f} to {max(loads, default=0.0):.1f}",
    )
    return _flat(text)


def _flat(text: str) -> str:
    return "\n\n".join(part.replace("\n", " ") for part in text.strip().split("\n\n"))


def _without_out(arguments: Sequence[str]) -> list[str]:
    """Where the page goes is no part of what was measured."""
    kept = list(arguments)
    if "--out" in kept:
        at = kept.index("--out")
        del kept[at : at + 2]
    return kept


def _cells(rows: Sequence[Row], sizes: Sequence[int], cell: Any) -> pd.DataFrame:
    """A row for each size and a column for each variant."""
    table: list[dict[str, str]] = []
    for items in sizes:
        line = {"items": f"{items:,}"}
        for row in rows:
            if row["items"] == items:
                line[row["variant"]] = "refused" if "refused" in row else cell(row)
        table.append(line)
    return pd.DataFrame(table).fillna("–")


def _times(rows: Sequence[Row], sizes: Sequence[int]) -> pd.DataFrame:
    return _cells(rows, sizes, lambda row: f"{row['seconds']:.3f} ({row['processor']:.3f})")


def _memory(rows: Sequence[Row], sizes: Sequence[int]) -> pd.DataFrame:
    return _cells(rows, sizes, lambda row: f"{row['peak_mb']:,.0f}")


def _refusals(rows: Sequence[Row]) -> str:
    said = [f"`hooks` at {r['items']:,} items: {r['refused']}." for r in rows if "refused" in r]
    return " ".join(said) or "Nothing was refused."


def _ratio_table(rows: Sequence[Row], sizes: Sequence[int]) -> pd.DataFrame:
    table = []
    for items in sizes:
        wall, processor = ratios(rows, items), ratios(rows, items, "processor")
        cells = {name: f"{wall[name]:.2f} ({processor[name]:.2f})" for name in wall}
        table.append({"items": f"{items:,}", **cells})
    return pd.DataFrame(table).fillna("–")


def _added(rows: Sequence[Row], sizes: Sequence[int]) -> pd.DataFrame:
    """What each private step takes beyond the step without privacy."""
    plain = {r["items"]: r for r in rows if r["variant"] == "plain"}
    private = [r for r in rows if r["variant"] in ("ours", "hooks", "ghost")]

    def beyond(row: Row) -> str:
        base = plain[row["items"]]
        return " ".join(
            form.format(row[kind] - base[kind])
            for kind, form in (("seconds", "{:+.3f}"), ("processor", "({:+.3f})"))
        )

    return _cells([r for r in private if r["items"] in plain], sizes, beyond)


def _growth(rows: Sequence[Row], sizes: Sequence[int]) -> pd.DataFrame:
    """Ours, its noise and the rest, and ours over the smallest catalogue's."""
    timed = {(r["items"], r["variant"]): r for r in rows if "seconds" in r}
    table = []
    for items in sizes:
        if not {(items, "ours"), (items, "noise")} <= timed.keys():
            continue
        ours, noise = timed[items, "ours"], timed[items, "noise"]
        first = timed.get((sizes[0], "ours"), ours)
        cells = {
            "ours": [ours[kind] for kind in _KINDS],
            "noise": [noise[kind] for kind in _KINDS],
            "the rest": [ours[kind] - noise[kind] for kind in _KINDS],
            "ours over the smallest": [ours[kind] / first[kind] for kind in _KINDS],
        }
        said = {name: f"{wall:.3f} ({processor:.3f})" for name, (wall, processor) in cells.items()}
        table.append({"items": f"{items:,}", **said})
    return pd.DataFrame(table)
