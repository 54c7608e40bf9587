"""A small part that behaves as it is told: `part.py FOLDER NAME BEHAVIOUR [WORDS]`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import typer

from common.errors import Code, ConfigError
from common.logs import Public, configure_by_environment, fields
from common.terminal import finish

LOG = logging.getLogger("hushrec.part")
SECRET = "§Ada Lovelace§"


def main(folder: Path, name: str, behaviour: str, *words: str) -> None:
    configure_by_environment(name)
    with (folder / f"{name}.pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    for stream in (sys.stderr, sys.stdout):
        stream.write(f"rubbish with {SECRET}\n")
        stream.flush()
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    LOG.info("hello %s %d", SECRET, 7, extra=fields(state=Public("ready")))
    if behaviour == "fails":
        try:
            finish(lambda: fail(Code(words[0])))
        except typer.Exit as ended:
            sys.exit(ended.exit_code)
    if behaviour == "once" and len((folder / f"{name}.pids").read_text().split()) == 1:
        raise ValueError(SECRET)
    threading.Event().wait()


def fail(code: Code) -> None:
    raise ConfigError(code, f"got {SECRET}", where=f"/srv/{SECRET}/policy.toml")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    main(Path(sys.argv[1]), *sys.argv[2:])
