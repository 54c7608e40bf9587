"""`python -m simulations.benchmarks.shops.nodes FOLDER`: the nodes of all shops, as threads.

Each is the launcher's own connection and loop, with its key, heartbeats and TLS, and calls the
installed app on its own folder and ledger. Only the process of a task is left out: fifty
interpreters with torch do not fit on one machine, so tasks are done here, one at a time.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from functools import partial
from pathlib import Path

from client.enroll.node_key import NODE_KEY
from client.enroll.start_files import ROOTS
from client.launcher.fleet import SuperLink, connected
from client.launcher.node import Node
from client.launcher.parcel import Errand, Packed
from client.launcher.task import perform
from simulations.deployment.layout import Layout, Places

__all__ = ["main"]

_ONE = threading.Lock()
"""A task has its run's identity in a variable of Flower's that is the process's own."""


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--poll-seconds", type=float, default=3.0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    layout, places = Layout.load_folder(given.folder), Places(given.folder)
    for name in layout.shops:
        serve = partial(_serve, places.shop(name), layout.listen, given.poll_seconds)
        threading.Thread(target=serve, name=name, daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _serve(home: Path, address: str, poll_seconds: float) -> None:
    with connected(SuperLink(address, home / ROOTS, home / NODE_KEY)) as fleet:
        Node(fleet, home, poll_seconds, work=_alone).serve()


def _alone(errand: Errand, packed: Packed) -> Packed:
    with _ONE:
        return perform(errand, packed)


if __name__ == "__main__":
    main()
