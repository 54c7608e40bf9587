"""The page of many shops: tables out of single runs, and what to know beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from simulations.benchmarks.secure_sum.prose import paragraphs
from simulations.results.pages import write_page

__all__ = ["NAME", "growth", "write"]

NAME: Final = "fifty-shops"
_SIZE: Final = ("items", "shops")
_TIME: Final = (*_SIZE, "online, s", "first step, s", "step, s", "training, s", "load")
_BYTES: Final = (*_SIZE, "up, kB", "down, kB", "bundle, kB", "requests", "idle requests",
                 "slowest request, ms")  # fmt: skip
_MEMORY: Final = (*_SIZE, "gateway, MB", "server app, MB", "all nodes, MB", "MB a node")
_PROCESSOR: Final = (*_SIZE, "gateway, cpu s", "gateway, ms a request", "server app, cpu s",
                     "node, cpu s")  # fmt: skip
_GROWN: Final = ("step, s", "up, kB", "down, kB", "gateway, MB", "server app, MB", "gateway, cpu s",
                 "server app, cpu s", "node, cpu s")  # fmt: skip
_NOTES: Final = """
One machine plays a federation: the gateway with Flower's SuperLink, its database and its
executor, the server app that the executor starts, and all shops' nodes, over TLS on loopback
and with node keys. Each shop has a folder, events, policy and ledger of its own, and answers with
the installed client app; the training is driven as `hushrec server train` does it. Mode `local`,
solver `subspace`, {rounds} rounds after one for popularity, {users} shoppers of each shop,
16 dimensions, seed {seed}. Nodes look for messages every {poll:g} seconds, as they do by default.

One thing differs from a deployment. A node starts a fresh process for every message; that many
interpreters with torch do not fit on one machine, so here all nodes are threads of one process
that does one task after another. A real shop takes about 2 seconds of a processor longer for a
message, and all shops do it at the same time.
"""
_WORDS: Final = {
    "Time": """
A step is a message to every shop and an answer from each; its time is the server's, the median
after the first. Flower's server looks for answers every 3 seconds, and a node for messages every
{poll:g}, so a step takes some seconds however few the shops are. `online` is from the start of
all nodes at once until the last is counted; `training` is from the operator's command to the
delivered model, with meeting, receipts and delivery. `load` is what the machine had to do
before: where that is more than it has cores, the times are those of a busy machine, and the
processor's and the bytes are what can be compared.
""",
    "Bytes": """
For each client and step, bodies of requests and answers at the gateway, without heads and TLS:
all of a training but looking for messages and heartbeats, divided by its steps; so meeting,
receipts and the delivered model are in it. Requests are counted in the same way; idle ones are
those that were left out.
""",
    "Memory": """
Resident at most, of one process each. Nodes share theirs, the libraries once; `MB a node` is
what each shop beyond the fewest of the same catalogue adds.
""",
    "Processor": """
Seconds of a processor for each step, of a node for each shop and step; idle looking is in it.
The gateway is one process with one interpreter lock, so a step cannot take less than its share.
Where a sampling profiler looked, two thirds of it were Starlette's layers around Flower's app
(task groups for each layer and request) and most of the rest SQL of Flower's state, which looks
for tasks that died at each request. What a message costs there is the number of its objects:
Flower fetches and sends each record, array and chunk by a request of its own.
""",
    "Growth": """
From the fewest to the most shops of one catalogue: how many times more, and the exponent p of
shops^p that this is. 0 does not grow, 1 grows with the shops, 2 with their square.
""",
}


def write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `fifty-shops.md` and `.json`.

    Args:
        folder: where to.
        rows: one for each size, at least one.
    """
    table = _with_shares(pd.DataFrame(rows))
    first = rows[0]
    known = {name: first[name] for name in ("rounds", "users", "seed")}
    known["poll"] = first["poll_seconds"]
    grown = growth(table)
    tables = {
        "Time": table[list(_TIME)],
        "Bytes": table[list(_BYTES)],
        "Memory": table[list(_MEMORY)],
        "Processor": table[list(_PROCESSOR)],
        **({"Growth": grown} if len(grown) else {}),
    }
    write_page(
        folder,
        NAME,
        title="Many shops: seconds, bytes, memory",
        command="python -m simulations.benchmarks.shops",
        notes=paragraphs(_NOTES.format(**known)),
        rows=rows,
        tables=tables,
        words={caption: paragraphs(text.format(**known)) for caption, text in _WORDS.items()},
    )


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """How figures grow with shops: times, and exponents of shops; `[figures x catalogues]`."""
    found = []
    for items, rows in table.sort_values("shops").groupby("items"):
        few, many = rows.iloc[0], rows.iloc[-1]
        if few["shops"] == many["shops"]:
            continue
        for name in _GROWN:
            times = float(many[name] / few[name]) if few[name] else float("nan")
            power = _log(times) / _log(float(many["shops"] / few["shops"]))
            found.append({"items": items, "figure": name, "times": times, "p": power})
    return pd.DataFrame(found)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else float("nan")


def _with_shares(table: pd.DataFrame) -> pd.DataFrame:
    """With what a shop adds to the nodes' memory, and what a request takes of the gateway."""
    table = table.sort_values(["items", "shops"]).reset_index(drop=True)
    first = table.groupby("items")[["shops", "all nodes, MB"]].transform("first")
    more = (table["shops"] - first["shops"]).where(lambda shops: shops > 0)
    asked = table["shops"] * (table["requests"] + table["idle requests"])
    return table.assign(
        **{
            "MB a node": (table["all nodes, MB"] - first["all nodes, MB"]) / more,
            "gateway, ms a request": 1000 * table["gateway, cpu s"] / asked,
        }
    )
