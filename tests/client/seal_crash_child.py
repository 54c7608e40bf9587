"""Seals and unseals copies of a client's folder, and dies at each change of a file in turn.

Called with a client's folder and an empty one. For each place to die: is the client's log there,
and does a second run end what the first began? Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client.data_files import NAMES, SEALED
from client.sealing import seal_folder, unseal_folder
from client.store import ClientStore, data_files

CHANGES = {"os.rename", "os.remove", "os.mkdir", "open"}
MOST = 200


def dies_before(nth: int) -> None:
    """End this process without a word before its nth change of a file."""
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in CHANGES or (event == "open" and not _writes(args)):
            return
        seen += 1
        if seen == nth:
            os._exit(9)

    sys.addaudithook(hook)


def _writes(args: tuple[Any, ...]) -> bool:
    return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))


def died(work: Callable[[], object], nth: int) -> bool:
    """Whether a child of this process died at its nth change."""
    child = os.fork()
    if child == 0:
        dies_before(nth)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def contents(folder: Path) -> dict[str, str | None]:
    """Every file's plain content, whatever its form."""
    files = data_files(folder)
    found = {name: files.read(name) for name in NAMES}
    return {name: None if data is None else data.hex() for name, data in found.items()}


def main() -> None:
    """Say in how many places it died, and what was not as it should be."""
    template, place = Path(sys.argv[1]), Path(sys.argv[2])
    wanted = contents(template)
    wrong: list[str] = []
    deaths = {"seal": 0, "unseal": 0}
    for what in deaths:
        for nth in range(1, MOST):
            folder, key = place / f"{what}-{nth}", place / f"{what}-{nth}.key"
            shutil.copytree(template, folder)
            work: Callable[[], object] = lambda f=folder, k=key: seal_folder(f, k)  # type: ignore[misc]  # noqa: E731
            if what == "unseal":
                work()
                work = lambda f=folder: unseal_folder(f)  # type: ignore[misc]  # noqa: E731
            if not died(work, nth):
                break
            deaths[what] += 1
            if contents(folder) != wanted or not ClientStore.open(folder).user_ids:
                wrong.append(f"{what}, dead at {nth}: content")
            again = data_files(folder).key_file is not None or what == "seal"
            if again:
                work()
            if contents(folder) != wanted:
                wrong.append(f"{what}, done again after {nth}: content")
            left = {path.name.endswith(SEALED) for path in folder.iterdir() if _is_data(path)}
            if left != {what == "seal"}:
                wrong.append(f"{what}, done again after {nth}: forms")
    sys.stdout.write(json.dumps({"deaths": deaths, "wrong": wrong}))


def _is_data(path: Path) -> bool:
    return path.name.removesuffix(SEALED) in NAMES


if __name__ == "__main__":
    main()
