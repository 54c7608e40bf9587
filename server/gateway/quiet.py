"""Nothing phones home, whatever the operator's environment says."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["QUIET", "quieten"]

QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
"""Variables by which Flower neither tells of itself nor installs anything."""


def quieten() -> None:
    """Set them for this process and what it starts; before Flower is imported."""
    os.environ.update(QUIET)
