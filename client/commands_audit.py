"""`hushrec audit export`, `verify`, `recompute`, `statement`: what a client can show."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import click
import typer
from rich.console import Console
from typer.core import TyperGroup

from client.audit_text import print_ledgers, print_verdict
from client.audited import AuditedClient, audit_client
from client.owner import Owner, owners
from common.audit.export import Export, read_export
from common.audit.findings import Finding
from common.audit.ledgers import LedgerAudit, audit_ledger, unreadable
from common.audit.manifests import check_manifests, read_manifests
from common.audit.statement import Bound
from common.audit.statement_page import render_statements
from common.audit.verify import Verdict, verify_export
from common.config import read_json
from common.errors import Code, ConfigError, LedgerError
from common.files import write_atomic
from common.privacy.heads import SignedHead
from common.terminal import Format, FormatOption, Teller, finish, print_json

__all__ = ["BROKEN", "audit_commands", "read_head", "today"]

BROKEN: Final = 1
"""Exit status of an audit that finds a broken promise."""


class RunOrCommand(TyperGroup):
    """A group whose first word may also be the folder of a run: `audit RUN` is `audit run RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` before a first word that is no command."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args] if "run" in self.commands else args
        return super().parse_args(ctx, args)


def audit_commands() -> typer.Typer:
    """The group; the lab adds its own commands."""
    audit = typer.Typer(
        cls=RunOrCommand,
        help="Check promises: without trusting the server, the client, or this program's word.",
        no_args_is_help=True,
        add_completion=False,
    )
    for name, command in (
        ("export", export),
        ("verify", verify),
        ("recompute", recompute),
        ("statement", statement),
    ):
        audit.command(name)(command)
    return audit


def export(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    out: Annotated[Path, typer.Option(help="File for the ledger as JSON Lines.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Write a client's ledger to a file that anybody can check, without any release in it."""

    def work() -> None:
        with Owner.of(client_dir).ledger() as ledger:
            head = ledger.export(out)
        if output is Format.JSON:
            print_json({"file": str(out), "head": head.model_dump()})
            return
        console = Console(soft_wrap=True)
        console.print(f"Wrote {out}: {head.seq + 1} rows of {head.client}.", markup=False)
        console.print(f"Head {head.hash}", markup=False, highlight=False)
        console.print(f"Key  {head.key}", markup=False, highlight=False)
        console.print("Give head and key to the reader by another way than the file.")

    finish(work)


def verify(
    file: Annotated[Path, typer.Argument(help="Ledger as JSON Lines.")],
    client_key: Annotated[
        str | None, typer.Option(help="The client's ledger key, hexadecimal.")
    ] = None,
    server_key: Annotated[
        list[str] | None, typer.Option(help="Key of a server whose receipts count.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="A head seen before: a hash, or a file that holds one.")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Check chain, signatures and receipts of a file; status 1 if one does not hold."""

    def work() -> int:
        verdict = _verdict(read_export(file), client_key, server_key or [], head)
        if output is Format.JSON:
            print_json(verdict.model_dump(mode="json"))
        else:
            print_verdict(verdict)
        return 0 if verdict.consistent else BROKEN

    finish(work)


def recompute(
    path: Annotated[Path, typer.Argument(help="Exported ledger, folder of a client, or run.")],
    delta: Annotated[
        float | None, typer.Option(help="δ of the total; absent: the policy's or the plans'.")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Compute ε again from the events, by accountants that share no code; status 1 if it is off."""

    def work() -> int:
        with Teller() as teller:
            audits, findings = _recomputed(path, delta, teller)
        if output is Format.JSON:
            ledgers = {one.client: one.to_json() for one in audits}
            print_json({"ledgers": ledgers, "findings": [one.model_dump() for one in findings]})
        else:
            print_ledgers(audits, findings)
        return BROKEN if findings else 0

    finish(work)


def statement(
    path: Annotated[Path, typer.Argument(help="Folder of a client, or a run.")],
    out: Annotated[Path, typer.Option(help="HTML file: a page for each client.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Write the page that somebody signs: what is promised, to whom, and what is not."""

    def work() -> int:
        with Teller() as teller:
            found = []
            for owner in owners(path):
                teller.tell(f"statement of {owner.settings.name}")
                found.append(audit_client(owner))
        bounds = _bounds(path)
        pages = [one.statement(today(), bounds) for one in found]
        write_atomic(out, render_statements(pages).encode())
        findings = [finding for one in found for finding in one.findings]
        if output is Format.JSON:
            print_json({"file": str(out), "statements": [p.model_dump(mode="json") for p in pages]})
        else:
            typer.echo(f"Wrote {out}: {len(pages)} page{'' if len(pages) == 1 else 's'}.")
        return BROKEN if findings else 0

    finish(work)


def today() -> str:
    """The date as a page shows it."""
    now = datetime.now(UTC)
    return f"{now.day} {now:%B %Y}"


def read_head(text: str, client: str) -> SignedHead | str:
    """A head that was seen before.

    Args:
        text: the hash of a row, or the path of a JSON file with a signed head, a receipt, or
            a manifest that names the client's head.
        client: whose head.

    Raises:
        ConfigError: it is none of these.
    """
    if len(text) == 64 and not Path(text).exists():
        return text.lower()
    values = read_json(Path(text))
    heads = values.get("heads")
    if isinstance(heads, dict):
        values = heads.get(client, {})
    elif isinstance(values.get("head"), dict):
        values = values["head"]
    return SignedHead.load(values, where=text)


def _verdict(
    found: Export, client_key: str | None, server_keys: list[str], head: str | None
) -> Verdict:
    """What the file shows."""
    for name, key in [("--client-key", client_key), *(("--server-key", k) for k in server_keys)]:
        if key is not None and not _is_key(key):
            raise ConfigError(
                Code.CONFIG_INVALID, f"{key!r} is not 64 hexadecimal digits.", where=name
            )
    seen = None if head is None else read_head(head, found.header.client)
    return verify_export(found, client_key=client_key, server_keys=server_keys, seen=seen)


def _is_key(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)


def _recomputed(
    path: Path, delta: float | None, teller: Teller
) -> tuple[list[LedgerAudit], list[Finding]]:
    if path.is_file():
        found = read_export(path)
        verdict = verify_export(found)
        broken = [
            Finding(layer="ledger", where=verdict.client, what=one.says) for one in verdict.findings
        ]
        if broken:
            return [_unread(found, delta)], broken
        ledger = audit_ledger(found.rows, delta)
        return [ledger], list(ledger.findings)
    clients: list[AuditedClient] = []
    findings: list[Finding] = []
    for owner in owners(path):
        name = owner.settings.name
        teller.tell(f"recompute {name}")
        try:
            clients.append(audit_client(owner))
        except LedgerError as error:  # it cannot even be opened
            if not owner.has_ledger:
                raise
            findings.append(Finding(layer="ledger", where=name, what=error.message))
    findings += [finding for one in clients for finding in one.findings]
    artefacts, damaged = read_manifests(path / "server")
    rows = {one.owner.settings.name: one.rows for one in clients}
    findings += [*damaged, *check_manifests(artefacts, rows)]
    again = [audit_ledger(one.rows, delta) if delta and one.rows else one.ledger for one in clients]
    return again, findings


def _unread(found: Export, delta: float | None) -> LedgerAudit:
    """Rows whose chain does not hold are counted, and not believed."""
    rows = found.rows
    last = rows[-1].hash if rows else ""
    return unreadable(found.header.client, "", len(rows), last, 0.0 if delta is None else delta)


def _bounds(path: Path) -> list[Bound]:
    """What attacks showed, if the run was audited."""
    for folder in (path, path.parent.parent):
        place = folder / "audit" / "audit.json"
        if place.is_file():
            found: Any = read_json(place).get("bounds", [])
            return [Bound.load(one, where=str(place)) for one in found]
    return []
