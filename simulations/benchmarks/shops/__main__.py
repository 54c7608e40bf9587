"""Run `python -m simulations.benchmarks.shops`: a quarter of an hour or so."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from simulations.benchmarks.machine import machine
from simulations.benchmarks.shops.measure import Size, measured
from simulations.benchmarks.shops.page import NAME, write

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size that was asked for and write the page; other sizes stay as they were."""
    given = _parser().parse_args(arguments)
    kept = given.out / f"{NAME}.json"
    rows = json.loads(kept.read_text())["runs"] if kept.exists() and given.keep else []
    for items in given.items:
        for shops in given.shops:
            size = Size(shops, items, given.users, given.rounds, given.seed, given.poll_seconds)
            before = machine()["load"]
            found = {**measured(size, _say), "load": before}
            same = asdict(size).items()
            rows = [row for row in rows if not same <= row.items()]
            rows = sorted([*rows, found], key=lambda row: (row["items"], row["shops"]))
            write(given.out, rows)


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shops", type=int, nargs="+", default=[10, 25, 50])
    parser.add_argument("--items", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--users", type=int, default=100, help="of each shop")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the generated data")
    parser.add_argument("--poll-seconds", type=float, default=3.0)
    parser.add_argument("--keep", action="store_true", help="other sizes of an earlier run")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    return parser


if __name__ == "__main__":
    main()
