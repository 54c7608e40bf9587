"""A client of a prepared run as its monitor sees it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from client.monitor.reading import Watched
from client.owner import Owner
from client.running.state import Parts
from common.certificates import certificate_pem, make_authority, new_key


def watched(folder: Path) -> Watched:
    """With both parts ready, and read anew each time."""
    parts = Parts()
    for _, part in parts.items():
        part.being = "ready"
    return Watched(Owner.of(folder), parts, fresh_seconds=-1.0)


def write_authority(folder: Path, days: int = 3650, age_days: int = 0) -> None:
    """An authority that was made some days ago, for so many days."""
    begun = datetime.now(UTC) - timedelta(days=age_days)
    made = make_authority("a", new_key(), days=days, now=begun)
    (folder / "ca.pem").write_bytes(certificate_pem(made))


def values(page: bytes) -> dict[str, float]:
    """Samples by name and labels, as they stand there."""
    rows = [line.rpartition(" ") for line in page.decode().splitlines() if line[:1] != "#"]
    return {name: float(value) for name, _, value in rows}


def families(page: bytes) -> dict[str, set[str]]:
    """Names of the samples, each with its labels."""
    return {name.partition("{")[0]: set(re.findall(r'(\w+)="', name)) for name in values(page)}
