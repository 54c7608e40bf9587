"""MovieLens-100K among eight clients: how updates are combined, and one client that lies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.app import Context, Message, RecordDict
from numpy.typing import NDArray

from client.app import make_app as make_client_app
from common.evaluation.evaluate import evaluate
from common.evaluation.scorers import JointScorer
from common.protocol import OK, STEP, Reply, Task
from server.app import make_app as make_server_app
from server.record import SilentObserver
from simulations.dataset import load_dataset
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import SERVER_NODE, InProcessGrid
from simulations.prepare import make_job, prepare
from simulations.results.pages import mean_and_spread, write_page
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

__all__ = ["LyingGrid", "lie", "run_aggregation"]

CLIENTS: Final = 8
RULES: Final = ("fedavg", "median", "trimmed-mean", "krum")
MODES: Final[Mapping[str, Mapping[str, Any]]] = {
    "none": {"mode": "none", "no_privacy": True},
    "8": {"epsilon": 8.0},
}
_ENLARGED: Final = 10.0
_PROCESSES: Final = 2

_NOTES: Final = """
Solver `dpsgd`, 5 rounds of one local step, other settings at their defaults; nothing was chosen
on these figures. 943 users are dealt to 8 clients by hash. `liars` is how many clients lie: in
every round the liar goes ten times as far as it honestly would, and the other way, and it turns
popularity upside down. `byzantine` is 1. `epsilon` is user-level (add/remove one user), by PLD, at
each client, in mode `local`, δ = declared population of all clients to the power of -1.1; `none` is
mode `none`. HR@10 and NDCG@10 of the held-out item among all items (protocol `full`), `joint`
serving. Exact figures of a simulation, not a private release.
"""


class LyingGrid(InProcessGrid):
    """The in-process grid, with clients that lie in every release.

    Args:
        run: folder of the run.
        liars: how many clients lie, the first ones by name.
    """

    def __init__(self, run: Path, liars: int) -> None:
        super().__init__(make_client_app(simulation=True), client_folders(run))
        self._last_liar = SERVER_NODE + liars

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """As the grid beneath, with the liars' releases changed on their way."""
        for message in messages:
            (reply,) = super().send_and_receive([message], timeout=timeout)
            meta = message.metadata
            lies = meta.message_type == STEP and meta.dst_node_id <= self._last_liar
            yield _changed(message, reply) if lies else reply


def _changed(asked: Message, reply: Message) -> Message:
    honest = Reply.from_records(reply.content)
    if honest.code != OK:
        return reply
    arrays = lie(Task.from_records(asked.content).inputs, honest.arrays)
    return Message(replace(honest, arrays=arrays).to_records(), reply_to=asked)


def lie(
    sent: Mapping[str, NDArray[Any]], honest: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """What a liar releases instead: of a table ten times its move back, of popularity its reverse.

    Args:
        sent: what the server sent, by name.
        honest: what the client would have released.
    """
    return {
        name: (
            sent[name] - np.float32(_ENLARGED) * (array - sent[name])
            if name in sent and array.ndim > 1
            else array.max() + array.min() - array
        ).astype(np.float32)
        for name, array in honest.items()
    }


def run_aggregation(
    data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]
) -> None:
    """All cases, two at a time; writes `ml100k-aggregation`."""
    cases = [
        (data, rule, epsilon, liars, seed)
        for epsilon in MODES
        for rule in RULES
        for liars in (0, 1)
        for seed in seeds
    ]
    rows = []
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        for row in pool.map(_measured, cases):
            tell(str(row))
            rows.append(row)
    write_page(
        out,
        "ml100k-aggregation",
        title="MovieLens-100K, eight clients: how updates are combined, and one that lies",
        command=f"python -m simulations.results aggregation --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES,
        rows=rows,
        tables={"Means over seeds": mean_and_spread(rows, ["epsilon", "aggregation", "liars"])},
    )


def _measured(case: tuple[Path, str, str, int, int]) -> dict[str, Any]:
    data, rule, epsilon, liars, seed = case
    scenario = Scenario.load(
        {
            "data": str(data / "ml-100k.zip"), "clients": CLIENTS, "partition": "hash",
            "solver": "dpsgd", "seed": seed, **MODES[epsilon],
            "settings": {"aggregation": rule, "local_steps": 1},
        }
    ).checked()  # fmt: skip
    dataset = load_dataset(scenario)
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        folder = RunFolder.create(Path(scratch) / "run", force=False)
        prepare(folder, scenario, dataset, make_job(scenario, dataset))
        grid = LyingGrid(folder.path, liars)
        context = Context(grid.run.run_id, SERVER_NODE, {}, RecordDict(), {})
        make_server_app(folder.path, SilentObserver())(grid, context)
        model, _ = folder.registry.model(dataset.catalogue.version)
    scorer = JointScorer(model, dataset.split.histories)
    metrics = evaluate(scorer, dataset.split).metrics
    found = {name: round(metrics[name], 5) for name in ("hr@10", "ndcg@10")}
    return {"epsilon": epsilon, "aggregation": rule, "liars": liars, "seed": seed, **found}
