"""A server and shops that enrol by the real commands, with small files of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from click.testing import CliRunner, Result

from hushrec import command_line

EVENTS = "\n".join(
    ["user_id,item_id,datetime"]
    + [f"u{user},{item},2026-01-0{day}" for user in range(30) for day, item in enumerate("abc", 1)]
    + ["u1,nobody-sells-this,2026-01-01", ",a,2026-01-01", ""]
)
"""90 events of 30 users about three items, and two rows that cannot be used."""


COMMAND = typer.main.get_command(command_line())


def hushrec(*words: object, typed: str | None = None) -> Result:
    """Run a command; `typed` is what somebody types."""
    return CliRunner().invoke(COMMAND, [str(word) for word in words], input=typed)


def said(*words: object, typed: str | None = None) -> dict[str, Any]:
    """The object that a command prints, after it has succeeded."""
    done = hushrec(*words, "--format", "json", typed=typed)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refusal(*words: object, typed: str | None = None) -> str:
    """The code that a command fails with."""
    done = hushrec(*words, typed=typed)
    assert done.exit_code == 2, done.output
    assert "See docs/errors/" in done.stderr
    return done.stderr.partition("docs/errors/")[2].partition(".md")[0]


def write_data(folder: Path) -> None:
    """`events.csv` and `products.csv`."""
    (folder / "events.csv").write_text(EVENTS)
    (folder / "products.csv").write_text("item_id,title\na,A\nb,B\nc,C\n")


def enrol_server(home: Path, *more: object) -> dict[str, Any]:
    hosts = ("--host", "127.0.0.1", "--host", "localhost")
    return said("enroll", "server", home, *hosts, *more)


def client_words(folder: Path, name: str, invitation: object, *more: object) -> tuple[object, ...]:
    """The words of `hushrec enroll client` for a shop beside `write_data`'s files."""
    data = folder.parent
    return (
        *("enroll", "client", name, folder, "--invitation", invitation),
        *("--data", data / "events.csv", "--catalogue", data / "products.csv"),
        *("--population", 30, "--epsilon", 8, "--delta", 1e-3, *more),
    )


def enrol_client(folder: Path, name: str, server: dict[str, Any], *more: object) -> dict[str, Any]:
    told = ("--fingerprint", server["fingerprint"])
    return said(*client_words(folder, name, server["invitation"], *told, *more))
