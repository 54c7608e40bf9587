"""`hushrec enroll`: the group that both wings add their commands to, and `status` for either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from common.enrolment.standing import Item, Viewer, is_broken
from common.errors import Code, ConfigError
from common.fingerprints import read_fingerprint
from common.terminal import Format, FormatOption, finish, print_json

__all__ = ["DUE", "Enrolment", "FingerprintOption", "asked_fingerprint", "tell"]

DUE: Final = 1
"""Exit status of `status` where something has to be done now."""
FingerprintOption = Annotated[
    str | None,
    typer.Option("--fingerprint", help="As its owner read it out; absent: asked for."),
]
"""The fingerprint of a file that somebody sent."""


def _group(words: str) -> typer.Typer:
    return typer.Typer(help=words, no_args_is_help=True)


@dataclass
class Enrolment:
    """The group, and what the installed wings know of folders.

    Attributes:
        app: the group.
        renew: its part about what ends.
        viewers: how folders of each kind are looked at.
    """

    app: typer.Typer = field(default_factory=lambda: _group("Keys, certificates, who is who."))
    renew: typer.Typer = field(default_factory=lambda: _group("Replace what ends or was lost."))
    viewers: list[Viewer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app.add_typer(self.renew, name="renew")
        self.app.command("status")(self._status)

    def _status(
        self,
        folder: Annotated[Path, typer.Argument(help="Folder of a client, or a server's home.")],
        output: FormatOption = Format.TEXT,
    ) -> None:
        """Look at files, permissions and certificates. Status 1 if something is to be done now."""

        def work() -> int:
            items = self._items(folder)
            if output is Format.JSON:
                print_json({"broken": is_broken(items), "items": [i.to_json() for i in items]})
            else:
                for item in items:
                    typer.echo(_line(item))
            return DUE if is_broken(items) else 0

        finish(work)

    def _items(self, folder: Path) -> Sequence[Item]:
        now = datetime.now(UTC)
        try:
            seen = [view(folder, now) for view in self.viewers]
        except OSError as error:
            raise ConfigError(
                Code.CONFIG_NOT_FOUND,
                f"cannot be looked into: {error.strerror}.",
                where=str(folder),
                remedy="Run this as the owner of the folder.",
            ) from None
        for items in seen:
            if items is not None:
                return items
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            "neither a client's folder nor a server's home.",
            where=str(folder),
            remedy="`hushrec enroll client` and `hushrec enroll server` make one.",
        )


def asked_fingerprint(given: str | None, owner: str) -> str:
    """What the owner of a file read out: the option, or typed now.

    The file's own fingerprint is not shown before, so that there is nothing to copy.

    Raises:
        ConfigError: `enroll-fingerprint`, nobody gave one, or it is mistyped.
    """
    if given is not None:
        return read_fingerprint(given)
    try:
        typed = typer.prompt(f"Fingerprint, as {owner} reads it out", err=True)
    except typer.Abort:
        raise ConfigError(
            Code.ENROLL_FINGERPRINT,
            "nobody gave the fingerprint.",
            where="--fingerprint",
            remedy=f"Call {owner} and have it read out.",
        ) from None
    return read_fingerprint(typed)


def tell(output: Format, values: dict[str, Any], say: Callable[[], Sequence[str]]) -> None:
    """The result of a command: an object, or lines for people."""
    if output is Format.JSON:
        print_json(values)
    else:
        for line in say():
            typer.echo(line)


def _line(item: Item) -> str:
    print_of = "" if item.fingerprint is None else f"\n    fingerprint {item.fingerprint}"
    return f"{item.state:<10} {item.path}: {item.said}{print_of}"
