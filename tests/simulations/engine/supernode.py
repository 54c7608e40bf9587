"""Flower's own SuperNode in a hurry: a quick pulse, and short waits between two looks.

`python supernode.py ARGUMENTS…`: everything else is Flower's `flower-supernode`, which would be
taken for alive for a minute after its death.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

from flwr.common import constant

constant.HEARTBEAT_DEFAULT_INTERVAL = constant.HEARTBEAT_MIN_INTERVAL  # whoever imports it later

from flwr.supernode import start_client_internal  # noqa: E402
from flwr.supernode.cli.flower_supernode import flower_supernode  # noqa: E402

LONGEST_WAIT_SECONDS = 0.5


def _sleep(seconds: float) -> None:
    time.sleep(min(seconds, LONGEST_WAIT_SECONDS))


start_client_internal.time = SimpleNamespace(sleep=_sleep)

if __name__ == "__main__":
    flower_supernode()
