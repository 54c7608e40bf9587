"""Run a client with parts of a test: `start.py FOLDER MONITOR NODE SERVICE`, words with `,`."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from client.owner import Owner
from client.running.supervisor import Start, run_client
from common.address import Address
from common.logs import Style, configure
from common.terminal import finish

PART = Path(__file__).with_name("part.py")


def part(folder: Path, name: str, words: str) -> tuple[str, ...]:
    return (sys.executable, str(PART), str(folder), name, *words.split(","))


def main(folder: Path, monitor: str, node: str, service: str) -> None:
    configure("run", Style.JSON)

    def work() -> None:
        run_client(
            Start(
                Owner.of(folder),
                part(folder, "node", node),
                part(folder, "service", service),
                Address.read(monitor),
                grace_seconds=3.0,
            )
        )

    finish(work)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
