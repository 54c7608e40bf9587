"""Which folder a node is: from what its owner configured, never from what a server sends.

The run configuration, which comes with a run from the server, is not read here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flwr.app import Context

from common.errors import Code, ConfigError

if TYPE_CHECKING:
    from client.store import ClientSettings

__all__ = ["RUN_VARIABLE", "Home", "check_home", "resolve_home"]

RUN_VARIABLE: Final = "HUSHREC_RUN"
"""Environment variable of a node's process: the prepared run that it simulates a client of."""


@dataclass(frozen=True)
class Home:
    """A client's folder.

    Attributes:
        folder: where it is.
        simulated: the node is one of a simulation, so that its noise may be repeatable.
    """

    folder: Path
    simulated: bool


def resolve_home(context: Context, run: Path | None, *, simulation: bool = False) -> Home:
    """The client's folder.

    The node configuration's `home` wins. Without it, a node of Flower's simulation engine
    (it has a partition id and their number) is one of the clients of a prepared run, by
    position in order of name: `run`, or else the one that `HUSHREC_RUN` names in the
    environment of this process.

    Raises:
        ConfigError: `config-invalid`, the node has no folder.
    """
    home = context.node_config.get("home")
    if isinstance(home, str) and home:
        return Home(Path(home), simulation)
    folder = _partition(context, run)
    if folder is None:
        raise ConfigError(
            Code.CONFIG_INVALID,
            "this node has no client folder.",
            where="node configuration `home`",
            remedy="Start the node with --node-config 'home=\"/path/to/client\"', or a simulation "
            f"with {RUN_VARIABLE} in its environment, set before its SuperLink started.",
        )
    return Home(folder, simulated=True)


def check_home(home: Home, settings: ClientSettings) -> None:
    """Hold node and folder together: what is for simulation only is simulated by both.

    Raises:
        ConfigError: `noise-seeded`, a deployed client would draw repeatable noise;
            `config-invalid`, a simulation would use the folder of a real client.
    """
    if settings.noise_seed is not None and not home.simulated:
        raise ConfigError(
            Code.NOISE_SEEDED,
            "the noise of a deployed client would come from a fixed seed.",
            where=f"{home.folder}, client.toml, `noise_seed`",
            remedy="Remove `noise_seed`: it is for simulations, and hides nothing.",
        )
    if home.simulated and not settings.simulated:
        raise ConfigError(
            Code.CONFIG_INVALID,
            "a simulation may not use the folder of a real client.",
            where=f"{home.folder}, client.toml, `simulated`",
            remedy="Prepare one with `hushrec simulate --prepare --out DIR`.",
        )


def _partition(context: Context, run: Path | None) -> Path | None:
    partition = context.node_config.get("partition-id")
    partitions = context.node_config.get("num-partitions")
    prepared = run if run is not None else os.environ.get(RUN_VARIABLE)
    if not isinstance(partition, int) or not isinstance(partitions, int) or not prepared:
        return None
    folders = sorted(path.parent for path in Path(str(prepared)).glob("clients/*/client.toml"))
    if not 0 <= partition < len(folders):
        return None
    return folders[partition]
