"""How a client is started: `client.running`, which keeps node, service and monitor alive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common.enrolment.start import Service

__all__ = ["INVITATION", "ROOTS", "client_service"]

INVITATION: Final = "invitation.json"
"""The server's, as it was compared: where the client finds its server."""
ROOTS: Final = "ca.pem"
"""The authority of the invitation: what the launcher's `--root-certificates` takes."""
_RESTART_SECONDS: Final = 5
"""Parts are started again from inside, with waits of their own."""


def client_service(name: str) -> Service:
    """What runs a client; where its server is stands in the folder.

    Args:
        name: the client's.
    """

    def command(home: Path) -> Sequence[str]:
        return "-I", "-m", "client.running", str(home)

    return Service("client", name, command, _RESTART_SECONDS)
