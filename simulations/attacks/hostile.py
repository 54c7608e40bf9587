"""`python -m simulations.attacks.hostile --requests 2000 --seed 1`: a server that wants more.

It asks three clients in every way it can, through the real ClientApp: bigger ε, other δ, more
rounds, another unit, steps again with other content, other sessions, two keys and a third that
nobody knows, from many threads and processes at once, with a clock that jumps, poisoned
arrays, garbage, receipts that lie; and honest requests among them, so that the budget is used
up. Afterwards everything is recomputed from the ledgers, row by row. Prints what came of it
and writes `docs/results/hostile-server.md`; ends with status 1 if anything got through.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from simulations.attacks.hostile_siege import Siege, besiege
from simulations.results.pages import write_page

__all__ = ["main"]

_ABOUT: Final = """
The server signs with two keys that the clients' policies name and with one that they do not.
A quarter of its messages are the next step of an honest job, so that the budget is used up.
The clients run the real ClientApp on real ledgers, called no simulation, with noise from the
operating system; in volleys "at once" four threads or processes answer against one ledger.
The first client has a GDP filter, a period of 7 days at ε = 2.5 and at most 20 releases a job,
the second a Rényi filter; the third allows sampling rates up to 0.5, which no job here keeps in
all its steps. Jobs are small ones of every private solver, networks too: each has settings that
lie far out, is asked to sample, and is sent arrays that are none.

Afterwards each ledger is verified and every reservation added up anew, row by row: by the
filter after each one, for the lifetime and for each period, and by PLD over all. Every answer
is held to what its message type declares, every release to a `spend` row that names its bytes.

`answered` counts replays, receipts and hellos too. What is odd and allowed is answered and
charged: a smaller δ, a Rényi order that the client does not use, an honest job of the other
server. Copies of one request that come at once are charged once and get the same bytes.
"""
_GOT: Final = {
    "client": "client",
    "jobs": "jobs admitted",
    "reserved": "releases charged",
    "sent": "releases sent",
    "over_lifetime": "past the lifetime",
    "over_period": "past a period",
    "uncharged": "uncharged",
    "two_answers": "answered in two ways",
    "undeclared": "undeclared fields",
    "halted": "stopped by a lie",
}
_SPENT: Final = {
    "client": "client",
    "filter": "filter",
    "cap": "cap ε",
    "delta": "δ",
    "epsilon_filter": "ε charged, by the filter",
    "epsilon_held": "with what open jobs hold",
    "epsilon_pld": "ε charged, by PLD",
}


def main() -> None:
    """Read the arguments, besiege, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="messages to send")
    parser.add_argument("--seed", type=int, default=1, help="decides what is asked")
    parser.add_argument("--processes", type=int, default=4, help="that answer at once")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="for the page")
    given = parser.parse_args()
    logging.getLogger("hushrec.client").setLevel(logging.CRITICAL)  # else a line a refusal
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        siege = besiege(Path(scratch) / "run", given.requests, given.seed, given.processes)
    options = f"--requests {given.requests} --seed {given.seed}"
    _write(siege, given.out, f"python -m simulations.attacks.hostile {options}")
    _say(siege)
    sys.exit(1 if siege.got_through else 0)


def _write(siege: Siege, out: Path, command: str) -> None:
    kinds, verdicts = siege.kinds(), [verdict.to_json() for verdict in siege.verdicts]
    refused = sum(row["refused"] for row in kinds)
    summary = (
        f"{siege.tried} messages to three clients: {siege.tried - refused} answered, {refused} "
        "refused. Past a cap, uncharged, answered in two ways, or in an answer and not declared: "
        f"**{siege.got_through}**."
    )
    write_page(
        out,
        "hostile-server",
        title="A server that asks for more than it may have",
        command=command,
        notes=f"{summary}\n{_ABOUT}",
        rows=[*kinds, *verdicts],
        tables={
            "What it got": _table(verdicts, _GOT),
            "What was spent": _table(verdicts, _SPENT),
            "What it was asked with": pd.DataFrame(siege.solvers()),
            "What was tried": pd.DataFrame([{**row, "codes": _codes(row)} for row in kinds]),
        },
    )


def _table(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows)[list(columns)].rename(columns=dict(columns))
    for name in table.select_dtypes("float"):
        table[name] = [f"{value:.6g}" for value in table[name]]
    return table


def _codes(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{code} {count}" for code, count in row["codes"].items()) or "–"


def _say(siege: Siege) -> None:
    lines = [
        f"{row['tried']:28} {row['messages']:5} sent {row['answered']:5} answered  {_codes(row)}"
        for row in siege.kinds()
    ]
    lines += [str(verdict) for verdict in siege.verdicts]
    lines.append(f"{siege.tried} tried, {siege.got_through} got through, {siege.seconds:.0f} s")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
