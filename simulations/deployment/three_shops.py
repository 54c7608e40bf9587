"""`python -m simulations.deployment.three_shops DIR`: the commands of the guide, and their time.

Runs the first block of docs/guide/deployment.md as it stands there, by a shell, in an empty
folder; only ports are others, so that it can run beside a real server.
"""

from __future__ import annotations

import re
import resource
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from common.errors import Code, ConfigError, RunError
from common.terminal import Format, FormatOption, finish, print_json
from simulations.benchmarks.machine import machine
from simulations.deployment.layout import free_ports
from simulations.deployment.processes import Processes, Unit
from simulations.deployment.topology import environment

__all__ = ["PAGE", "Walked", "block", "walk", "with_free_ports"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "guide" / "deployment.md"
_PORTS: Final = re.compile(r"(?<=127\.0\.0\.1:)\d{4,5}\b")
_OPERATED: Final = re.compile(r"(hushrec server (?:run|login|train|superexec) server)\b")
_SHELL: Final = "walk"
_PATIENCE_SECONDS: Final = 900.0


@dataclass(frozen=True)
class Walked:
    """What came of the commands.

    Attributes:
        seconds: from the first to the last.
        cpu_seconds: of all processes together, also those that were ended at the end.
        said: everything on standard output and error.
    """

    seconds: float
    cpu_seconds: float
    said: str


def block(page: Path = PAGE) -> str:
    """The first block of shell commands of the page.

    Raises:
        ConfigError: there is no page here: it is not part of an installed package.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    found = re.search(r"^```sh\n(.*?)^```", text, re.M | re.S)
    if found is None:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            "no page with commands.",
            where=str(page),
            remedy="Run it from the project's folder.",
        )
    return found[1]


def with_free_ports(commands: str) -> str:
    """The same with ports that nobody uses, the server's inside among them."""
    used = sorted({found[0] for found in _PORTS.finditer(commands)})
    *free, inside = free_ports(["127.0.0.1"] * (len(used) + 1))
    ports = dict(zip(used, free, strict=True))
    moved = _PORTS.sub(lambda found: str(ports[found[0]]), commands)
    moved = moved.replace("--host 127.0.0.1", f"--host 127.0.0.1 --port {ports['8443']}")
    return _OPERATED.sub(rf"\1 --inside 127.0.0.1:{inside}", moved)


def walk(folder: Path, commands: str, *, most_seconds: float = _PATIENCE_SECONDS) -> Walked:
    """Run commands in a folder; what they start in the background ends with them.

    Args:
        folder: where; made if there is none.
        commands: for a POSIX shell.
        most_seconds: after which they are given up.

    Raises:
        RunError: `internal`, one of them failed, or they took too long.
    """
    shell = shutil.which("sh") or "sh"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / f"{_SHELL}.sh"
    script.write_text(f"set -eu\ncd {shlex.quote(str(folder))}\n{commands}")
    known = environment(folder / "home")
    del known["FLWR_HOME"]
    used = _cpu_seconds()
    with Processes(folder / "logs") as processes:
        began = time.monotonic()
        processes.start(Unit(_SHELL, (shell, str(script)), known))
        try:
            status = processes.wait(_SHELL, most_seconds)
        except TimeoutError:
            status = -1
        seconds, said = time.monotonic() - began, processes.log(_SHELL)
    if status:
        raise RunError(
            Code.INTERNAL,
            f"the commands ended with status {status}: {said[-2000:]}",
            where=str(script),
        )
    return Walked(seconds, _cpu_seconds() - used, said)


def _cpu_seconds() -> float:
    """Of all processes that this one, and those that it waited for, have waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for everything, to be made.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Walk from an empty folder to a model that three shops serve, and say how long it took."""

    def work() -> None:
        walked = walk(folder.resolve(), with_free_ports(block()))
        if output is Format.JSON:
            figures = {"seconds": walked.seconds, "cpu_seconds": walked.cpu_seconds}
            rounded = {name: round(value, 1) for name, value in figures.items()}
            print_json({**rounded, **machine(), "said": walked.said})
            return
        typer.echo(walked.said)
        typer.echo(
            f"{walked.seconds:.1f} s from the first command to the last, "
            f"{walked.cpu_seconds:.1f} s of processors"
        )

    finish(work)


if __name__ == "__main__":
    typer.run(main)
