"""The page of secure sums: tables out of single runs, and what to know beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from simulations.benchmarks.secure_sum import prose
from simulations.benchmarks.secure_sum.limit import (
    Sum,
    client_counts,
    counts,
    seconds,
    server_counts,
)
from simulations.benchmarks.secure_sum.ours import usual_terms
from simulations.benchmarks.secure_sum.paper import on_paper
from simulations.benchmarks.secure_sum.race import standings
from simulations.results.pages import write_page

__all__ = ["write"]

_RACE = "Beside Flower's SecAgg+"
_LIMIT = "Distance to the limit"
_CLIENTS = "More clients"
_WORDS = "More words"
_LARGEST = "Both"
_WHOLE = "A step of a run"
_GRAPH = "On paper: how many peers a random graph takes"
_PAPER = "On paper: the complete and the random graph"
_PARTS: Final = {
    "masks": ("byte of a mask",),
    "checks of signatures": ("check of a signature",),
    "key agreements": ("key agreement",),
    "other": ("key pair", "key derivation", "signature", "sealing", "opening"),
}


def write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `secure-sum-speed.md` and `.json`.

    Args:
        folder: where to.
        rows: single runs; `table` says which table each belongs to, and a table without runs
            is left out. There must be a race.
    """
    races = _of(rows, "race")
    priced = {row["what"]: float(row["seconds"]) for row in _of(rows, "prices")}
    tables = {
        _RACE: pd.DataFrame(standings(races)),
        _LIMIT: pd.DataFrame(_distances(races, priced)),
        _CLIENTS: pd.DataFrame(_with_limits(_of(rows, "clients"), priced)),
        _WORDS: pd.DataFrame(_with_limits(_of(rows, "words"), priced)),
        _LARGEST: pd.DataFrame(_with_limits(_of(rows, "largest"), priced)),
        _WHOLE: pd.DataFrame(_of(rows, "whole")),
        _GRAPH: pd.DataFrame(_of(rows, "graph")),
    }
    said = {
        _RACE: prose.RACE.format(load=_load(rows), **_fewest_runs(races)),
        _LIMIT: prose.LIMIT.format(prices=_priced(priced)),
        _CLIENTS: prose.GROWTH,
        _WORDS: prose.WORDS,
        _LARGEST: prose.LARGEST,
        _WHOLE: prose.WHOLE,
        _GRAPH: prose.GRAPH,
    }
    if _of(rows, "clients"):
        peer = _bytes_a_peer(rows)
        paper = on_paper(priced, peer)
        saved = 1000 * (paper[0]["client, s"] - paper[1]["client, s"])
        tables[_PAPER] = pd.DataFrame(paper)
        said[_PAPER] = prose.PAPER.format(peer=peer, small=paper[1]["peers"], saved=saved)
    write_page(
        folder,
        "secure-sum-speed",
        title="Secure sums: speed, memory, growth",
        command="python -m simulations.benchmarks.secure_sum",
        notes=prose.paragraphs(prose.NOTES),
        rows=rows,
        tables={caption: table for caption, table in tables.items() if len(table)},
        words={caption: prose.paragraphs(text) for caption, text in said.items()},
    )


def _of(rows: Sequence[Mapping[str, Any]], table: str) -> list[dict[str, Any]]:
    chosen = [dict(row) for row in rows if row["table"] == table]
    return [{k: v for k, v in row.items() if k not in ("part", "table")} for row in chosen]


def _load(rows: Sequence[Mapping[str, Any]]) -> str:
    """The least and the most of what was seen before and after each part."""
    seen = [float(row[when]) for row in _of(rows, "load") for when in ("before", "after")]
    return f"{min(seen):.1f} to {max(seen):.1f}"


def _distances(
    races: Sequence[Mapping[str, Any]], priced: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Each part of the limit, and what ours takes."""
    found = []
    for row in standings(races):
        n, left = row["clients"], row["left"]
        size = Sum(n, left, usual_terms(n).threshold, row["values"], peers=n - 1)
        limit = counts(size)
        parts = {
            part: seconds({name: limit[name] for name in names}, priced)
            for part, names in _PARTS.items()
        }
        whole, ours = sum(parts.values()), row["ours, processor s"]
        sizes = {key: row[key] for key in ("clients", "values", "left")}
        parts |= {"limit": whole, "ours": ours, "rest": ours - whole}
        shown = {f"{part}, ms": 1000 * each for part, each in parts.items()}
        unchecked = row["Flower, processor s"] / (ours - parts["checks of signatures"])
        times = {"ours / limit": ours / whole, "times faster, unchecked": unchecked}
        found.append({**sizes, **shown, **times})
    return found


def _with_limits(
    grown: Sequence[Mapping[str, Any]], priced: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Rows of growth with the limits of a client and of the server behind their times."""
    found = []
    for row in grown:
        n, left = row["clients"], row["left"]
        size = Sum(n, left, usual_terms(n).threshold, row["words"], peers=n - 1)
        limits = {"client, ms": client_counts(size), "server, ms": server_counts(size)}
        shown: dict[str, Any] = {}
        for key, value in row.items():
            shown[key] = value
            if key in limits:
                limit = 1000 * seconds(limits[key], priced)
                shown[key.replace(", ms", " limit, ms")] = limit
        found.append(shown)
    return found


def _fewest_runs(races: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    table = pd.DataFrame(races)
    runs = table.groupby(["clients", "values", "left", "who"]).size().groupby("who").min()
    return {str(who).lower(): int(each) for who, each in runs.items()}


def _priced(priced: Mapping[str, float]) -> str:
    """One of each primitive in microseconds; a mask by gigabytes a second."""
    each = [f"{what} {1e6 * s:.1f} µs" for what, s in priced.items() if what != "byte of a mask"]
    return ", ".join([*each, f"masks {1e-9 / priced['byte of a mask']:.1f} GB/s"])


def _bytes_a_peer(rows: Sequence[Mapping[str, Any]]) -> float:
    """JSON that a client sends and receives for each peer, where nobody is gone."""
    whole = [row for row in _of(rows, "clients") if row["left"] == row["clients"]]
    largest = max(whole, key=lambda row: int(row["clients"]))
    return float(1000 * largest["JSON, kB"] / (largest["clients"] - 1))
