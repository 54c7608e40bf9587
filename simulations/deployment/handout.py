"""`python -I -m simulations.deployment.handout FOLDER`: a demo federation for containers.

FOLDER has a folder for the server and one for each shop, such as volumes are mounted on; each
gets what belongs to that party, and the parties' own containers get that one alone. As with
`demo`, one person has played all parties for a moment.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from common.enrolment.folders import exists
from common.enrolment.start import START
from common.errors import Code, ConfigError
from common.files import write_atomic
from common.terminal import finish
from simulations.deployment.demo import Demo, lay_out
from simulations.deployment.layout import Places
from simulations.deployment.market import shop_names

__all__ = ["hand_out", "main"]

_SERVER: Final = "server"
_DONE: Final = ".handed-out"
"""In the server's folder, once everybody has everything."""


def hand_out(folder: Path, demo: Demo) -> bool:
    """Lay a federation out beside `folder`, and copy to each party what is its own.

    Args:
        folder: with an empty folder `server` and one for each shop.
        demo: what is laid out.

    Returns:
        Whether anything was done: what was handed out before stays as it is.

    Raises:
        ConfigError: `config-not-found`, a folder is missing; `enroll-exists`, one is not empty.
        HushRecError: as the functions of enrolment.
    """
    if (folder / _SERVER / _DONE).exists():
        return False
    names = (_SERVER, *shop_names(demo.shops))
    for name in names:
        _check_empty(folder / name)
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        places = Places(Path(scratch) / "federation")
        lay_out(places.folder, demo)
        for name in names:
            made = places.server if name == _SERVER else places.shop(name)
            shutil.copytree(
                made, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns(START)
            )
    write_atomic(folder / _SERVER / _DONE, b"Everybody has everything.\n")
    return True


def _check_empty(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            "no folder to hand out to.",
            where=str(folder),
            remedy="Mount a volume on it, or make it.",
        )
    if any(folder.iterdir()):
        raise exists("there is something already", folder, "Begin with empty volumes.")


def main(
    folder: Annotated[Path, typer.Argument(help="With `server` and a folder for each shop.")],
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address of the server; shops use the first.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port that shops connect to.")
    ] = 8443,
    shops: Annotated[int, typer.Option(min=1, help="How many shops.")] = 3,
    users: Annotated[int, typer.Option(min=2, help="Shoppers of each shop.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Of the generated data.")] = 0,
) -> None:
    """Lay out a federation of generated shops, and give each party its own folder."""

    def work() -> None:
        given = {"shops": shops, "users": users, "seed": seed, "port": port}
        demo = Demo.load({**given, "hosts": tuple(host or ())}, where="options")
        done = hand_out(folder, demo)
        said = "handed out" if done else "was handed out before"
        typer.echo(f"{folder}  a server and {shops} shops: {said}")

    finish(work)


if __name__ == "__main__":
    typer.run(main)
