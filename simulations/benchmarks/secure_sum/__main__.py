"""Run `python -m simulations.benchmarks.secure_sum`: minutes, most of them Flower's."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from simulations.benchmarks.secure_sum.growth import grown
from simulations.benchmarks.secure_sum.limit import prices
from simulations.benchmarks.secure_sum.ours import most_gone
from simulations.benchmarks.secure_sum.page import write
from simulations.benchmarks.secure_sum.paper import degrees
from simulations.benchmarks.secure_sum.race import AIMS, race
from simulations.benchmarks.secure_sum.whole import whole_step

__all__ = ["main"]

_MANY = (10, 20, 50, 100, 200)
_FEW, _EIGHT = 10_000, 8
_LONG = (10_000, 100_000, 1_000_000, 10_000_000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, part by part, and write the page; parts not asked for stay as they were."""
    given = _parser().parse_args(arguments)
    kept = given.out / "secure-sum-speed.json"
    rows = json.loads(kept.read_text())["runs"] if kept.exists() else []
    for part in given.parts:
        before = os.getloadavg()[0]
        found = _PARTS[part](given)
        load = {"table": "load", "before": before, "after": os.getloadavg()[0]}
        rows = [row for row in rows if row["part"] != part]
        rows += [{"part": part, **row} for row in (*found, load)]
        write(given.out, rows)


def _race(given: argparse.Namespace) -> list[dict[str, Any]]:
    runs = race(given.races, given.laps)
    priced = prices().items()
    return [*runs, *({"table": "prices", "what": what, "seconds": s} for what, s in priced)]


def _clients(given: argparse.Namespace) -> list[dict[str, Any]]:
    sizes = [(n, gone) for n in given.clients for gone in (0, most_gone(n))]
    return [_grown("clients", n, _FEW, gone) for n, gone in sizes]


def _words(given: argparse.Namespace) -> list[dict[str, Any]]:
    return [_grown("words", _EIGHT, words, 0) for words in given.words]


def _largest(given: argparse.Namespace) -> list[dict[str, Any]]:
    return [_grown("largest", n, words, most_gone(n)) for n, words in given.largest]


def _whole(given: argparse.Namespace) -> list[dict[str, Any]]:
    return [{"table": "whole", **whole_step(*size)} for size in given.whole]


def _graph(given: argparse.Namespace) -> list[dict[str, Any]]:
    del given
    return [{"table": "graph", **row} for row in degrees()]


_PARTS: Final[Mapping[str, Callable[[argparse.Namespace], list[dict[str, Any]]]]] = {
    "race": _race,
    "clients": _clients,
    "words": _words,
    "largest": _largest,
    "whole": _whole,
    "graph": _graph,
}


def _grown(table: str, clients: int, words: int, gone: int) -> dict[str, Any]:
    sys.stderr.write(f"{clients} clients, {gone} gone, {words} words\n")
    return {"table": table, **grown(clients, words, gone)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--races", type=_size, nargs="*", default=list(AIMS), metavar="NxWORDS")
    parser.add_argument("--laps", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="*", default=_MANY)
    parser.add_argument("--words", type=int, nargs="*", default=_LONG)
    parser.add_argument("--largest", type=_size, nargs="*", default=[(200, 10_000_000)])
    parser.add_argument("--whole", type=_size, nargs="*", default=[(30, 10_000)])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    return parser


def _size(text: str) -> tuple[int, int]:
    clients, words = text.split("x")
    return int(clients), int(words)


if __name__ == "__main__":
    main()
