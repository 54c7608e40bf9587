"""How a client's node is started: the launcher, with the client's folder, roots and node key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from client.enroll.node_key import NODE_KEY
from common.enrolment.start import Service

__all__ = ["ROOTS", "node_service"]

ROOTS: Final = "ca.pem"
"""The authority of the invitation: what the launcher's `--root-certificates` takes."""
_LEASE: Final = 65
"""Flower lets a node that was killed in again when its lease of a minute is over, seconds."""


def node_service(name: str, superlink: str) -> Service:
    """The node of a client.

    Args:
        name: the client's.
        superlink: HOST:PORT that it connects to.
    """

    def command(home: Path) -> Sequence[str]:
        launcher = ("-I", "-m", "client.launcher", str(home), "--superlink", superlink)
        return *launcher, "--root-certificates", str(home / ROOTS), "--key", str(home / NODE_KEY)

    return Service("client", name, command, _LEASE)
