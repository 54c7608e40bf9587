"""`python -I -m client.launcher CLIENT_DIR --superlink HOST:PORT`: be this client's node."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from client.enroll.node_key import NODE_KEY
from common.logs import Public, configure_by_environment, fields, vouch
from common.terminal import finish

_Home: TypeAlias = Annotated[Path, typer.Argument(help="Folder of the client.")]
_SuperLink: TypeAlias = Annotated[str, typer.Option(help="HOST:PORT of the server.")]
_Roots: TypeAlias = Annotated[
    Path | None, typer.Option(help="PEM file to check the server by; absent: the system's.")
]
_Key: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="OpenSSH file with this node's private key; absent: the folder's."),
]
_Poll: TypeAlias = Annotated[
    float, typer.Option(min=0.05, max=60, help="Wait between two looks for a message.")
]
_Heartbeat: TypeAlias = Annotated[
    float, typer.Option(min=10, max=1800, help="After a kill, it is counted for twice as long.")
]


def launch(
    client_dir: _Home,
    superlink: _SuperLink,
    root_certificates: _Roots = None,
    key: _Key = None,
    poll_seconds: _Poll = 3.0,
    heartbeat_seconds: _Heartbeat = 10.0,
) -> None:
    """Connect a client to its server and answer with the installed app alone.

    Exit status: 0 after SIGTERM, 1 where starting it again may help, 2 where somebody has to
    mend something.
    """
    for name in ("FLWR_DISABLE_UPDATE_CHECK", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"):
        os.environ[name] = "1"
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    signal.signal(signal.SIGTERM, _end)
    configure_by_environment("node")

    def work() -> None:
        from client.launcher.versions import check_flower

        check_flower()
        home = client_dir.resolve()
        node_key = home / NODE_KEY if key is None else key
        _serve(home, superlink, root_certificates, node_key, poll_seconds, heartbeat_seconds)

    finish(work)


def _serve(
    home: Path, address: str, roots: Path | None, key: Path, poll: float, heartbeat: float
) -> None:
    from client.launcher.fleet import SuperLink, connected
    from client.launcher.node import Node
    from client.launcher.number import NODE_NUMBER
    from client.owner import Owner

    owner = Owner.of(home)
    vouch(owner.settings.name, address)
    log = logging.getLogger("hushrec.launcher")
    log.setLevel(logging.INFO)
    if not owner.policy.bundles:
        log.warning("the policy lists no bundle: every message will be refused (policy-bundle)")
    superlink = SuperLink(address, roots, key, heartbeat, memory=home / NODE_NUMBER)
    with connected(superlink) as fleet:
        ready = fields(state=Public("ready"))
        log.info("client %s is node %d", owner.settings.name, fleet.node_id, extra=ready)
        Node(fleet, home, poll).serve()


def _end(*_: Any) -> None:
    """As from Ctrl-C: the server is told that the node goes."""
    sys.exit(0)


if __name__ == "__main__":
    typer.run(launch)
