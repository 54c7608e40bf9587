"""Seals and unseals copies of a client's folder, and dies at each change of a file in turn.

Called with a client's folder and an empty one. For each place to die: are the client's log and
what its service recorded there, does a second run end what the first began, and does the file
of recorded events show any of them then? Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from client.data_files import NAMES, SEALED
from client.recorded_log import RECORDED, recorded_events
from client.sealing import seal_folder, unseal_folder
from client.service.recorded import Recorded
from client.store import ClientStore, data_files

CHANGES = {"os.rename", "os.remove", "os.mkdir", "open"}
MOST = 300
STEPS = 500
"""Of SQLite's own machine, between two places to die inside of a statement."""


def dies_before(nth: int) -> None:
    """End this process without a word before its nth change of a file, or step of a statement."""
    seen = 0

    def step() -> int:
        nonlocal seen
        seen += 1
        if seen == nth:
            os._exit(9)
        return 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in CHANGES and (event != "open" or _writes(args)):
            step()

    class Dying(sqlite3.Connection):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            self.set_progress_handler(step, STEPS)

        def execute(self, *args: Any) -> sqlite3.Cursor:
            if not str(args[0]).startswith(("SELECT", "INSERT INTO event", "INSERT INTO sealed")):
                step()
            return super().execute(*args)

    sqlite3.connect = partial(sqlite3.connect, factory=Dying)  # type: ignore[assignment]
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


def contents(folder: Path) -> dict[str, object]:
    """Every file's plain content, whatever its form."""
    files = data_files(folder)
    found: dict[str, object] = {name: files.read(name) for name in NAMES}
    return found | {RECORDED: recorded_events(folder)}


def shown(folder: Path) -> bool:
    """Whether the bytes of the file of recorded events name somebody or something."""
    raw = b"".join(path.read_bytes() for path in folder.glob(f"{RECORDED}*"))
    return any(text.encode() in raw for event in recorded_events(folder) for text in event[1:4])


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
            wrong += [f"{what}, dead at {nth}: {one}" for one in _after(folder, wanted, what, work)]
            shutil.rmtree(folder)
    sys.stdout.write(json.dumps({"deaths": deaths, "wrong": wrong}))


def _after(
    folder: Path, wanted: dict[str, object], what: str, work: Callable[[], object]
) -> Iterator[str]:
    """What is not as it should be after a death, and after the work was done again."""
    if contents(folder) != wanted or not ClientStore.open(folder).user_ids:
        yield "content"
    is_named = data_files(folder).key_file is not None
    if what == "seal" and is_named and not _sealed_by_the_service(folder, wanted):
        yield "the service's start"
    if is_named or what == "seal":
        work()
    if contents(folder) != wanted:
        yield "content, done again"
    if shown(folder) != (what == "unseal"):
        yield "bytes of recorded events, done again"
    left = {path.name.endswith(SEALED) for path in folder.iterdir() if _is_data(path)}
    if left != {what == "seal"}:
        yield "forms, done again"


def _sealed_by_the_service(folder: Path, wanted: dict[str, object]) -> bool:
    """Whether a service that starts on a copy of what a crash has left hides all of it."""
    copy = folder.with_name(f"{folder.name}-served")
    shutil.copytree(folder, copy)
    with Recorded.open(copy):
        is_well = contents(copy) == wanted and not shown(copy)
    shutil.rmtree(copy)
    return is_well


def _is_data(path: Path) -> bool:
    return path.name.removesuffix(SEALED) in NAMES


if __name__ == "__main__":
    main()
