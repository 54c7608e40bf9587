"""Seconds and memory of whole commands, each in a process of its own.

`python -m simulations.benchmarks.main_job [--data ../shared/data]`: the demo's main job, and the
`subspace` run on MovieLens-1M under ε = 8 with one client, against the targets of 60 s and
2 GB, and 30 s. The second is left out when the data are not there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from simulations.benchmarks.machine import machine

__all__ = ["main"]


def _measured(arguments: Sequence[str]) -> dict[str, float]:
    """Wall seconds and largest resident memory of `hushrec ARGUMENTS`."""
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        command = [sys.executable, "-m", "hushrec", *arguments, "--out", f"{scratch}/run"]
        started = time.monotonic()
        child = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
        )
        _, status, usage = os.wait4(child, 0)
        seconds = time.monotonic() - started
    if status != 0:
        raise SystemExit(f"hushrec {' '.join(arguments)} ended with status {status}")
    return {"seconds": round(seconds, 2), "gigabytes": round(usage.ru_maxrss / 2**20, 3)}


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    demo = ["simulate", "--scenario", "simulations/scenarios/demo.toml", "--format", "json"]
    found: dict[str, object] = {"demo": _measured(demo)}
    zipped = given.data / "ml-1m-ncf.zip"
    if zipped.exists():
        ml1m = ["simulate", "--data", str(zipped), "--protocol", "ncf", "--clients", "1"]
        found["ml1m_subspace"] = _measured([*ml1m, "--epsilon", "8", "--format", "json"])
    sys.stdout.write(json.dumps({**found, "machine": machine()}) + "\n")


if __name__ == "__main__":
    main()
