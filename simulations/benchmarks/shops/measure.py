"""One federation of many shops, trained once: seconds, bytes and memory."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from common.address import Address
from common.bundle import build_bundle
from server.gateway.control import Control
from server.gateway.folder import ServerFolder
from server.record import RoundRecord
from server.registry import Registry
from server.training.driver import Driver
from server.training.folder import Training
from server.training.request import Request
from simulations.benchmarks.shops.usage import Watch
from simulations.deployment.demo import Demo, lay_out
from simulations.deployment.processes import Processes, Unit
from simulations.deployment.topology import SERVER, SUPEREXEC, Federation, Pace, environment

__all__ = ["Size", "measured"]

_NODES: Final = "nodes"
_APP: Final = "server app"
_DIM: Final = 16
_MEGABYTE: Final = 2**20
_IDLE: Final = {"/v1/fleet/pull-messages", "/v1/fleet/send-node-heartbeat"}
"""Calls that a node makes whether it is asked or not."""
_BUNDLE: Final = "/v1/fleet/get-fab"
"""Once in a run, whatever its steps."""
_PATIENCE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Size:
    """What is measured.

    Attributes:
        shops: how many.
        items: of the catalogue.
        users: of each shop.
        rounds: federated rounds, after one for popularity.
        seed: of the generated data.
        poll_seconds: how long nodes wait between two looks for a message.
    """

    shops: int
    items: int
    users: int = 100
    rounds: int = 2
    seed: int = 0
    poll_seconds: float = 3.0


def measured(size: Size, say: Callable[[str], None]) -> dict[str, Any]:
    """Lay a federation out, train it, and take everything away again.

    Args:
        size: of the federation.
        say: is told what is being done.

    Raises:
        HushRecError: it did not come to a model.
    """
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        folder, began = Path(scratch) / "all", time.monotonic()
        lay_out(folder, _demo(size))
        say(f"{size.shops} shops, {size.items} items: laid out in {_since(began)}")
        with Federation(folder, Pace(restart_seconds=None)) as federation:
            began = time.monotonic()
            _start(federation, size)
            online = time.monotonic() - began
            before = len(_accesses(federation))
            began = time.monotonic()
            with Watch(lambda: _parts(federation.processes)) as watch:
                records = _train(federation, size, say)
            trained = time.monotonic() - began
            accesses = _accesses(federation)[before:]
    return {
        **asdict(size),
        "online, s": online,
        "training, s": trained,
        **_rounds(records),
        **_bytes(accesses, size.shops, len(records)),
        **_taken(watch, size.shops, len(records)),
    }


def _demo(size: Size) -> Demo:
    return Demo(
        shops=size.shops, users=size.users, items=size.items, seed=size.seed, modes=("local",)
    )


def _start(federation: Federation, size: Size) -> None:
    """The server, which lets one address have all connections, its superexec, and all nodes."""
    unit = federation.server_unit()
    most = ("--connections", "4096", "--per-address", "4096")
    federation.processes.start(replace(unit, command=(*unit.command, *most)))
    federation.wait_server()
    federation.processes.start(federation.superexec_unit())
    folder = federation.places.folder
    command = (
        *(sys.executable, "-m", "simulations.benchmarks.shops.nodes", str(folder)),
        *("--poll-seconds", str(size.poll_seconds)),
    )
    known = {
        **environment(federation.places.logs / _NODES),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    federation.processes.start(Unit(_NODES, command, known))
    federation.wait_online(federation.shops, _PATIENCE_SECONDS)


def _train(federation: Federation, size: Size, say: Callable[[str], None]) -> list[RoundRecord]:
    """As `hushrec server train` does."""
    home = federation.places.server
    request = Request(
        rounds=size.rounds, dim=_DIM, quorum=size.shops, epsilon=4.0, delta=1e-5, seed=size.seed
    )
    training = Training.create(home, request, "many")
    control = Control(ServerFolder.opened(home), Address.read(federation.layout.inside))
    Driver(training, home, control, build_bundle(), say, restarts=0).run()
    return Registry(training.path / "server").rounds()


def _rounds(records: Sequence[RoundRecord]) -> dict[str, float]:
    """The first step has each client open its folder and begin its ledger's job."""
    return {
        "first step, s": records[0].seconds,
        "step, s": statistics.median(record.seconds for record in records[1:]),
    }


def _bytes(accesses: Sequence[Mapping[str, Any]], shops: int, steps: int) -> dict[str, float]:
    """Bodies of requests and answers at the gateway, without heads and TLS."""
    asked = [one for one in accesses if one["side"] == "outside"]
    work = [one for one in asked if one["path"] not in {*_IDLE, _BUNDLE}]
    bundles = [one for one in asked if one["path"] == _BUNDLE]
    each = 1000 * shops * steps
    return {
        "up, kB": sum(one["received"] for one in work) / each,
        "down, kB": sum(one["sent"] for one in work) / each,
        "bundle, kB": sum(one["sent"] for one in bundles) / 1000 / shops,
        "requests": len(work) / shops / steps,
        "idle requests": sum(one["path"] in _IDLE for one in asked) / shops / steps,
        "slowest request, ms": max(one["ms"] for one in asked),
    }


def _taken(watch: Watch, shops: int, steps: int) -> dict[str, float]:
    """Memory at its highest; processor time for each step, of nodes for each shop too."""
    gateway, app, nodes = (watch.of(part) for part in (SERVER, _APP, _NODES))
    return {
        "gateway, MB": gateway.bytes / _MEGABYTE,
        "server app, MB": app.bytes / _MEGABYTE,
        "all nodes, MB": nodes.bytes / _MEGABYTE,
        "gateway, cpu s": gateway.seconds / steps,
        "server app, cpu s": app.seconds / steps,
        "node, cpu s": nodes.seconds / shops / steps,
    }


def _parts(processes: Processes) -> dict[str, list[int]]:
    """The gateway's own process, those that run the server app, and that of all nodes."""
    tree = processes.tree(SUPEREXEC)
    apps = [one.pid for one in tree if "serverapp" in one.command]
    first = [processes.pid(name) for name in (SERVER, _NODES)]
    return {
        _APP: apps,
        **{n: [p] for n, p in zip((SERVER, _NODES), first, strict=True) if p is not None},
    }


def _accesses(federation: Federation) -> list[dict[str, Any]]:
    lines = (federation.places.server / "access.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"
