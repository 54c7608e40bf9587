"""Shops in networks of their own: a namespace for each, joined by cables to the server's.

`unshare -Urnm python -m simulations.deployment.namespaces DIR` needs no rights: in its own user
namespace it may make networks. DIR is a federation that was laid out with the host `HUB`. What
it saw is one JSON object on standard output.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from common.errors import Code, ConfigError
from simulations.deployment.layout import Layout
from simulations.deployment.processes import until
from simulations.deployment.topology import Federation, Pace

__all__ = ["HUB", "Cables", "observe"]

HUB: Final = "10.77.0.1"
"""Address of the server in the network that all shops reach."""
_NET: Final = "10.77.0."
_FIRST: Final = 11
_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_PATIENCE_SECONDS: Final = 120.0
_REACHES: Final = (
    "import socket, sys\n"
    "try:\n"
    "    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()\n"
    "except OSError:\n"
    "    sys.exit(1)\n"
)


class Cables:
    """A bridge here, and a namespace with one cable to it for each shop.

    Only within a user, network and mount namespace of one's own: it covers `/run`.

    Args:
        shops: names, at most 200.
    """

    def __init__(self, shops: Sequence[str]) -> None:
        self.addresses = {name: f"{_NET}{_FIRST + k}" for k, name in enumerate(shops)}
        _call(_found("mount"), "-t", "tmpfs", "none", "/run")
        _ip("link set lo up")
        _ip("link add hub type bridge")
        _ip(f"addr add {HUB}/24 dev hub")
        _ip("link set hub up")
        for number, (name, address) in enumerate(self.addresses.items()):
            _ip(f"netns add {name}")
            _ip(f"link add cable{number} type veth peer name eth0 netns {name}")
            _ip(f"link set cable{number} master hub up")
            _ip(f"-n {name} addr add {address}/24 dev eth0")
            _ip(f"-n {name} link set lo up")
            self.plug(name)

    @staticmethod
    def prefix(name: str) -> tuple[str, ...]:
        """What runs a command in a shop's network."""
        return _found("ip"), "netns", "exec", name

    @staticmethod
    def pull(name: str) -> None:
        """Take the cable out."""
        _ip(f"-n {name} link set eth0 down")

    @staticmethod
    def plug(name: str) -> None:
        """Put the cable in."""
        _ip(f"-n {name} link set eth0 up")

    def reaches(self, name: str, host: str, port: int) -> bool:
        """Whether a connection from the shop's network is taken."""
        command = [*self.prefix(name), sys.executable, "-I", "-c", _REACHES, host, str(port)]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603  no shell


def observe(folder: Path) -> dict[str, Any]:
    """Start a federation over cables; who came from where, and what they could not reach.

    Args:
        folder: as `demo.lay_out` left it, with host `HUB`.

    Raises:
        ConfigError: networks cannot be made here.
        TimeoutError: a shop does not come, or not again.
    """
    cables = Cables(sorted(Layout.load_folder(folder).shops))
    with Federation(folder, Pace(), elsewhere=cables.prefix) as federation:
        port = int(federation.layout.listen.rpartition(":")[2])
        inside = int(federation.layout.inside.rpartition(":")[2])
        federation.layout = federation.layout.model_copy(update={"listen": f"{HUB}:{port}"})
        federation.start()
        first = federation.shops[0]
        reached = {
            name: [cables.reaches(name, h, p) for h, p in ((HUB, port), (HUB, inside))]
            for name in federation.shops
        }
        cables.pull(first)
        away = cables.reaches(first, HUB, port)
        cables.plug(first)
        seen = len(_remotes(federation))
        address = cables.addresses[first]
        until(lambda: address in _remotes(federation)[seen:], "the shop again", _PATIENCE_SECONDS)
        return {
            "online": sorted(federation.control.online()),
            "addresses": cables.addresses,
            "came_from": sorted(set(_remotes(federation))),
            "outside_reached": {name: found[0] for name, found in reached.items()},
            "inside_reached": {name: found[1] for name, found in reached.items()},
            "reached_without_cable": away,
        }


def _remotes(federation: Federation) -> list[str]:
    """Addresses from which nodes came, by request."""
    lines = (federation.places.server / "access.jsonl").read_text().splitlines()
    return [one["remote"] for one in map(json.loads, lines) if one["side"] == "outside"]


def _ip(words: str) -> None:
    _call(_found("ip"), *words.split())


def _call(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{done.stderr.strip()}.",
            where=" ".join(command),
            remedy="Run it by `unshare -Urnm`, where user namespaces are allowed.",
        )


def _found(program: str) -> str:
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            "is not installed.",
            where=program,
            remedy="Install iproute2 and util-linux.",
        )
    return found


if __name__ == "__main__":
    print(json.dumps(observe(Path(sys.argv[1]))))  # noqa: T201  the result
