"""Run `python -m simulations.benchmarks.secure_sum`: minutes, most of them Flower's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulations.benchmarks.secure_sum.growth import grown
from simulations.benchmarks.secure_sum.limit import prices
from simulations.benchmarks.secure_sum.ours import most_gone
from simulations.benchmarks.secure_sum.page import write
from simulations.benchmarks.secure_sum.paper import degrees
from simulations.benchmarks.secure_sum.race import AIMS, race
from simulations.benchmarks.secure_sum.whole import whole_step

__all__ = ["main"]

_CLIENTS = (10, 20, 50, 100, 200)
_FEW, _EIGHT = 10_000, 8
_WORDS = (10_000, 100_000, 1_000_000, 10_000_000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the page."""
    given = _parser().parse_args(arguments)
    before = os.getloadavg()[0]
    runs = race(given.races, given.laps)
    priced = prices()
    grown_to = [
        *(_grown("clients", n, _FEW, gone) for n in given.clients for gone in (0, most_gone(n))),
        *(_grown("words", _EIGHT, words, 0) for words in given.words),
        *(_grown("largest", n, words, most_gone(n)) for n, words in given.largest),
    ]
    whole = [{"table": "whole", **whole_step(*size)} for size in given.whole]
    write(
        given.out,
        rows=[
            *runs,
            *({"table": "prices", "what": what, "seconds": s} for what, s in priced.items()),
            *grown_to,
            *whole,
            *({"table": "graph", **row} for row in degrees()),
        ],
        load=f"{before:.1f} before, {os.getloadavg()[0]:.1f} after",
    )


def _grown(table: str, clients: int, words: int, gone: int) -> dict[str, Any]:
    sys.stderr.write(f"{clients} clients, {gone} gone, {words} words\n")
    return {"table": table, **grown(clients, words, gone)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=_size, nargs="*", default=list(AIMS), metavar="NxWORDS")
    parser.add_argument("--laps", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="*", default=_CLIENTS)
    parser.add_argument("--words", type=int, nargs="*", default=_WORDS)
    parser.add_argument("--largest", type=_size, nargs="*", default=[(200, 10_000_000)])
    parser.add_argument("--whole", type=_size, nargs="*", default=[(30, 10_000)])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    return parser


def _size(text: str) -> tuple[int, int]:
    clients, words = text.split("x")
    return int(clients), int(words)


if __name__ == "__main__":
    main()
