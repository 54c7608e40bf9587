"""Whatever is done to one row of a client's ledger file, the audit names the row and ends."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client.audited import audit_client
from client.owner import owners
from hushrec import command_line

EDITS = {
    "body without its event": "json_remove(row, '$.body.event')",
    "no row at all": "'{}'",
    "not JSON": "'x'",
    "a time that is none": "json_set(row, '$.time', 'yesterday')",
    "an event of no kind": "json_set(row, '$.body.event', 'x')",
    "no sums": "json_set(row, '$.body.event.steps', 0)",
    "more sums than a float counts": f"json_set(row, '$.body.event.steps', json('{10**400}'))",
    "hardly any noise": "json_set(row, '$.body.event.sigma_grid', 1)",
    "another number": "json_set(row, '$.seq', 7)",
    "another kind": "json_set(row, '$.kind', 'spend')",
}


@pytest.fixture
def asked(shop: Any) -> Any:
    """A client that released one step: rows `open`, `admit`, `reserve`, `spend`."""
    shop.ask(shop.task(0))
    assert shop.kinds() == ["open", "admit", "reserve", "spend"]
    return shop


def edit(path: Path, seq: int, change: str) -> None:
    """Change a row as somebody with the file would, and leave no other trace."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (trigger,) = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'ledger_stays'"
        ).fetchone()
        connection.execute("DROP TRIGGER ledger_stays")
        connection.execute(f"UPDATE ledger SET row = {change} WHERE seq = ?", (seq,))
        connection.execute(trigger)


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("command", ["recompute", "statement"])
def test_an_edited_row_is_named(asked: Any, tmp_path: Path, change: str, command: str) -> None:
    edit(asked.store.ledger_path, 2, change)
    out = ["--out", str(tmp_path / "s.html")] if command == "statement" else []
    done = CliRunner().invoke(
        command_line(), ["audit", command, str(asked.folder), *out, "--format", "json"]
    )
    assert done.exit_code == 1, done.output
    (owner,) = owners(asked.folder)
    found = audit_client(owner)
    assert any("row 2" in finding.what or "row 3" in finding.what for finding in found.findings)
    assert not found.ledger.promised
    assert "nobody foresaw" not in done.stderr


def test_nothing_is_shown_of_rows_that_do_not_hold(asked: Any) -> None:
    edit(asked.store.ledger_path, 2, "json_remove(row, '$.body.event')")
    (owner,) = owners(asked.folder)
    found = audit_client(owner)
    assert found.rows == ()
    assert found.caps == ()
    assert json.dumps(found.to_json())
    assert not found.statement("2026-11-21").promised
