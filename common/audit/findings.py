"""What an audit finds: a finding is a promise that is not kept, or cannot be shown to be."""

from __future__ import annotations

from typing import Literal, TypeAlias

from common.config import Settings

__all__ = ["Finding", "Layer"]

Layer: TypeAlias = Literal["ledger", "recompute", "budget", "manifest", "attack"]
"""Which part of the audit found it; each can fail on its own."""


class Finding(Settings):
    """One promise that is broken, or cannot be shown to be kept."""

    layer: Layer
    """What was checked."""
    where: str
    """Client, row, manifest or attack."""
    what: str
    """What is wrong, with the figures."""
