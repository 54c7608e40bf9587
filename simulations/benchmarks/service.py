"""`Recommend` over gRPC on loopback: calls a second and latency, and exact top-k beside a sort.

Run `python -m simulations.benchmarks.service`: a table on standard error, one JSON object on
standard output. A shop is made up, with a random model of dimension 64; its service is a process
of its own, asked by one caller after the other and by eight at a time. Beside it, in this
process, the selection of ten items is timed against the named alternative: sorting all scores
(`numpy.argsort`), with equal ones in any order, and in the order that answers promise.
"""

from __future__ import annotations

import functools
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from client.models import ModelStore
from client.service.index import top_items
from client.service.token import Token
from client.service.v1 import recommender_pb2 as pb
from client.service.v1.recommender_pb2_grpc import RecommenderStub
from common.artifacts import Manifest, save_artifact
from common.catalogue import Catalogue
from common.interactions.table import event_table
from common.models.mf import FoldIn, MatrixFactorisation
from common.privacy.signing import SigningKey
from common.protocol.models import ModelMessage
from simulations.benchmarks.machine import machine

__all__ = ["main", "make_shop", "measure"]

_DIM: Final = 64
_USERS: Final = 2000
_EVENTS: Final = 20
_TOP: Final = 10
_CALLERS: Final = 8
_CLIENT: Final = f'name = "b"\ndataset_id = "{"0" * 32}"\npopulation = 1\ncatalogue = "c.json"\n'
_POLICY: Final = "[lifetime]\nepsilon = 8\ndelta = 1e-5\n"


def make_shop(folder: Path, n_items: int, *, users: int = _USERS) -> None:
    """A client's folder with random events, and a random model that was delivered."""
    rng = np.random.default_rng(n_items)
    folder.mkdir(mode=0o700)
    (folder / "client.toml").write_text(_CLIENT)
    (folder / "policy.toml").write_text(_POLICY)
    catalogue = Catalogue(tuple(f"i{item}" for item in range(n_items)))
    catalogue.save(folder / "c.json")
    names = np.repeat(np.arange(users), _EVENTS)
    items = rng.integers(0, n_items, len(names))
    table = event_table(
        [f"u{user}" for user in names], [f"i{item}" for item in items], [1.0] * len(items), names
    )
    table.to_parquet(folder / "events.parquet", index=False)
    vectors = rng.normal(0, 0.1, (n_items, _DIM))
    model = MatrixFactorisation.from_embeddings(vectors, rng.uniform(1, 9, n_items), FoldIn())
    _deliver(folder, model, catalogue.version)


def _deliver(folder: Path, model: MatrixFactorisation, catalogue_version: str) -> None:
    manifest = Manifest(
        kind="model",
        name="subspace",
        catalogue_version=catalogue_version,
        job_id="benchmark",
        step=0,
        private=False,
        privacy={},
        settings=model.settings.model_dump(mode="json"),
    )
    complete = save_artifact(folder / "made", model.arrays(), manifest)
    message = ModelMessage(1, "0001-00000000", complete, model.arrays())
    ModelStore(folder).take(message.signed(SigningKey.create()))


def measure(n_items: int, calls: int) -> dict[str, Any]:
    """Latency of one caller, calls a second of eight, and the selection beside a full sort.

    Args:
        n_items: of the catalogue.
        calls: of each part.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "shop"
        make_shop(folder, n_items)
        with _serving(folder) as call:
            for number in range(20):
                call(number)
            seconds = [_seconds(functools.partial(call, number)) for number in range(calls)]
            with ThreadPoolExecutor(_CALLERS) as crowd:
                start = time.perf_counter()
                list(crowd.map(call, range(calls)))
                rate = calls / (time.perf_counter() - start)
    percentiles = {f"p{q}": np.percentile(seconds, q) * 1000 for q in (50, 95, 99)}
    return {
        "items": n_items,
        "calls": calls,
        "milliseconds": {name: round(float(value), 2) for name, value in percentiles.items()},
        "calls_per_second": round(rate),
        **_selection(n_items),
    }


def _selection(n_items: int) -> dict[str, float]:
    """Milliseconds, best of many: the product, selecting ten items, and sorting all.

    `sort` leaves equal scores in any order; `stable_sort` has the order that a selection has.
    """
    rng = np.random.default_rng(1)
    vectors, vector = rng.normal(size=(n_items, _DIM)), rng.normal(size=_DIM)
    scores = vectors @ vector
    best = {
        "product": _best(lambda: vectors @ vector),
        "select": _best(lambda: top_items(scores, _TOP)),
        "sort": _best(lambda: np.argsort(-scores)[:_TOP]),
        "stable_sort": _best(lambda: np.argsort(-scores, kind="stable")[:_TOP]),
    }
    return {f"{name}_milliseconds": round(1000 * value, 3) for name, value in best.items()}


def _best(work: Callable[[], object]) -> float:
    return min(_seconds(work) for _ in range(50))


@contextmanager
def _serving(folder: Path) -> Iterator[Callable[[int], pb.RecommendReply]]:
    """A service of its own; what calls it for a shopper."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{found.getsockname()[1]}"
    words = (sys.executable, "-I", "-m", "client.service", str(folder), "--listen", at)
    process = subprocess.Popen(words, stdout=subprocess.PIPE)  # noqa: S603  our own
    try:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the service did not start")
        metadata = (("authorization", Token.of(folder).header),)
        with grpc.insecure_channel(at, (("grpc.enable_http_proxy", 0),)) as channel:
            method = RecommenderStub(channel).Recommend  # type: ignore[no-untyped-call]

            def call(number: int) -> pb.RecommendReply:
                request = pb.RecommendRequest(user_id=f"u{number % _USERS}", top_k=_TOP)
                reply: pb.RecommendReply = method(request, timeout=60, metadata=metadata)
                return reply

            yield call
    finally:
        process.terminate()
        process.wait()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(
    sizes: tuple[int, ...] = (10_000, 100_000), calls: int = 1000, out: TextIO | None = None
) -> None:
    """Measure, show the table and write the JSON object to `out` (standard output)."""
    found = [measure(n_items, calls) for n_items in sizes]
    latency, parts = ("p50", "p95", "p99"), ("product", "select", "sort", "stable sort")
    columns = (*(f"{name} ms" for name in latency), "calls/s, 8 callers")
    table = Table(
        "items",
        *columns,
        *(f"{name} ms" for name in parts),
        title=f"Recommend, top {_TOP}, dim {_DIM}",
    )
    for one in found:
        milliseconds = [f"{value:.2f}" for value in one["milliseconds"].values()]
        keys = [f"{name.replace(' ', '_')}_milliseconds" for name in parts]
        rest = (str(one["calls_per_second"]), *(f"{one[key]:.2f}" for key in keys))
        table.add_row(str(one["items"]), *milliseconds, *rest)
    Console(stderr=True).print(table)
    (out or sys.stdout).write(json.dumps({"machine": machine(), "results": found}) + "\n")


if __name__ == "__main__":
    main()
