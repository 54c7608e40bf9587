"""What a process takes is seen while it runs and kept when it has ended."""

from __future__ import annotations

import subprocess
import sys

from simulations.benchmarks.shops.usage import Usage, Watch
from tests.client.launcher.deployment import until

WORK = "held = b'x' * 40_000_000; sum(range(3_000_000)); input()"


def test_memory_and_processor_of_a_process_are_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", WORK], stdin=subprocess.PIPE) as process:
        with Watch(lambda: {"work": [process.pid]}) as watch:
            until(lambda: watch.of("work").bytes > 40_000_000, "the process to take its memory")
            process.communicate(b"\n")
        assert watch.of("work").bytes > 40_000_000
        assert watch.of("nobody") == Usage()
