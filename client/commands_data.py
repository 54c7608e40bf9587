"""`hushrec client import`, `catalogue`, `prune`, `seal`, `unseal`: a client's data on its disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from client.data_files import REJECTED
from client.growing import Grown, take_catalogue
from client.importing import Imported, import_events
from client.keeping import Pruned, prune
from client.sealing import Sealing, seal_folder, unseal_folder
from client.store import data_files
from common.enrolment.group import tell
from common.terminal import Format, FormatOption, finish

__all__ = ["extend"]

_Folder: TypeAlias = Annotated[Path, typer.Argument(help="Folder of the client.")]


def extend(app: typer.Typer) -> None:
    """Add the commands about a client's data."""
    app.command("import")(_import)
    app.command("catalogue")(_catalogue)
    app.command("prune")(_prune)
    app.command("seal")(_seal)
    app.command("unseal")(_unseal)


def _import(
    client_dir: _Folder,
    file: Annotated[Path | None, typer.Argument(help="New events of the shop.")] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Take what the service recorded, too.")
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Bring new events into the client's log; jobs under way go on with the old one."""
    if file is None and not recorded:
        raise typer.BadParameter("give a file of events, or --recorded", param_hint="FILE")

    def work() -> None:
        done = import_events(client_dir, file, datetime.now(UTC), recorded=recorded)
        where = data_files(client_dir).path(REJECTED)
        tell(output, asdict(done), lambda: _imported_lines(done, where))

    finish(work)


def _catalogue(
    client_dir: _Folder,
    file: Annotated[Path, typer.Argument(help="The larger catalogue.json, or product file.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Take a catalogue with more items behind those that are known."""

    def work() -> None:
        done = take_catalogue(client_dir, file)
        tell(output, asdict(done), lambda: _catalogue_lines(done))

    finish(work)


def _prune(client_dir: _Folder, output: FormatOption = Format.TEXT) -> None:
    """Delete events that are older than `retention_days`, and copies of the log that are over."""

    def work() -> None:
        done = prune(client_dir, datetime.now(UTC))
        before = None if done.before is None else done.before.date().isoformat()
        tell(output, asdict(done) | {"before": before}, lambda: _pruned_lines(done, before))

    finish(work)


def _seal(
    client_dir: _Folder,
    key_file: Annotated[Path, typer.Option(help="Where the key is to be: not in the folder.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Encrypt the customers' events in the client's folder."""

    def work() -> None:
        done = seal_folder(client_dir, key_file)
        tell(output, _sealing_json(done), lambda: _sealed_lines(done))

    finish(work)


def _unseal(client_dir: _Folder, output: FormatOption = Format.TEXT) -> None:
    """Decrypt the customers' events in the client's folder; the key stays where it is."""

    def work() -> None:
        done = unseal_folder(client_dir)
        lines = [_files_line(done, "decrypted"), f"The key is still {done.key_file}."]
        tell(output, _sealing_json(done), lambda: lines)

    finish(work)


def _imported_lines(done: Imported, rejected: Path) -> Sequence[str]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in done.reasons.items())
    aside = [f"{done.set_aside} rows set aside: {reasons}. They are in {rejected}."]
    rated = [f"{done.rated} events of the log got the rating that was recorded with them."]
    expired = [f"{done.expired} events were older than they are kept, and are gone."]
    return [
        f"{done.added} events are new, {done.repeated} were there already.",
        *(rated if done.rated else []),
        *(aside if done.set_aside else []),
        *(expired if done.expired else []),
        f"The log has {done.events} events. Jobs that have begun go on with the old one.",
    ]


def _catalogue_lines(done: Grown) -> Sequence[str]:
    return [
        f"{len(done.new)} items are new, the catalogue has {done.items}.",
        f"Its version is {done.version}: the operator's has to be the same.",
        "Import the log once more, if it has events about the new items.",
    ]


def _pruned_lines(done: Pruned, before: str | None) -> Sequence[str]:
    kept = "Everything is kept: client.toml has no `retention_days`."
    gone = (
        f"Deleted what is older than {before}: {done.events} events of the log, "
        f"{done.recorded} recorded ones, {done.rejected} rows that had been set aside."
    )
    return [
        kept if before is None else gone,
        f"{done.copies} copies of the log deleted, {done.kept} events in it now.",
    ]


def _sealing_json(done: Sealing) -> dict[str, object]:
    return {"files": list(done.files), "key_file": str(done.key_file), "new_key": done.new_key}


def _sealed_lines(done: Sealing) -> Sequence[str]:
    return [
        _files_line(done, "encrypted"),
        f"The key is {done.key_file}{', made now' if done.new_key else ''}.",
        "Without it the events are lost: keep a copy, and not beside a backup of the folder.",
    ]


def _files_line(done: Sealing, what: str) -> str:
    return f"{len(done.files)} files {what}{': ' if done.files else ''}{', '.join(done.files)}."
