"""`hushrec audit export`, `verify`, `recompute`, `statement` as owner and officer meet them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from common.privacy.heads import SignedHead
from hushrec import command_line


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command_line(), ["audit", *map(str, arguments)])


def result_of(*arguments: object, status: int = 0) -> dict[str, Any]:
    done = run(*arguments, "--format", "json")
    assert done.exit_code == status, done.output
    return json.loads(done.stdout)


@pytest.fixture
def asked(shop: Any) -> Any:
    """A client that released two steps; the noise of this run comes from a seed."""
    for step in (0, 1):
        shop.ask(shop.task(step))
    return shop


@pytest.fixture
def exported(asked: Any, tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    assert run("export", asked.folder, "--out", path).exit_code == 0
    return path


def key_of(shop: Any) -> str:
    return str(shop.rows("open")[0].body["public_key"])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_export_says_head_and_key(asked: Any, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    found = result_of("export", asked.folder, "--out", path)
    assert found["head"]["hash"] == asked.rows()[-1].hash
    assert found["head"]["key"] == key_of(asked)
    assert path.exists()
    words = run("export", asked.folder, "--out", path).stdout
    assert found["head"]["hash"] in words
    assert key_of(asked) in words


def test_an_export_needs_a_ledger_and_makes_none(shop: Any, tmp_path: Path) -> None:
    done = run("export", shop.folder, "--out", tmp_path / "e.jsonl")
    assert done.exit_code == 2
    assert "ledger-missing" in done.stderr
    assert not (shop.folder / "ledger.sqlite").exists()


def test_an_honest_file_is_consistent(asked: Any, exported: Path) -> None:
    found = result_of("verify", exported, "--client-key", key_of(asked))
    assert found["findings"] == []
    assert found["key_from"] == "given"
    assert found["shown_up_to"] is None
    assert found["complete"] == "consistent, completeness not shown"
    assert "completeness not shown" in run("verify", exported).stdout


def test_another_key_is_told(exported: Path) -> None:
    found = result_of("verify", exported, "--client-key", "ab" * 32, status=1)
    assert {one["what"] for one in found["findings"]} == {"signature"}


def test_an_edited_row_is_named_and_fails(exported: Path) -> None:
    edit(exported, '"step":1', '"step":2')
    done = run("verify", exported)
    assert done.exit_code == 1
    assert "BROKEN (edited)" in done.stdout
    found = result_of("verify", exported, status=1)
    assert found["findings"][0]["row"] is not None


@pytest.mark.parametrize("form", ["hash", "head", "receipt", "manifest"])
def test_a_head_that_was_seen_before(asked: Any, exported: Path, tmp_path: Path, form: str) -> None:
    with asked.ledger() as ledger:
        head = ledger.signed_head()
        lost = SignedHead.sign(ledger.key, head.client, head.seq + 4, "0" * 64)

    def given(one: SignedHead) -> str | Path:
        if form == "hash":
            return one.hash
        values = {"head": one.model_dump()} if form == "receipt" else one.model_dump()
        if form == "manifest":
            values = {"heads": {one.client: one.model_dump()}}
        path = tmp_path / "head.json"
        path.write_text(json.dumps(values))
        return path

    assert run("verify", exported, "--head", given(head)).exit_code == 0
    shown = result_of("verify", exported, "--head", given(head))["shown_up_to"]
    assert shown == head.seq  # a bare hash counts like the rest
    done = run("verify", exported, "--head", given(lost))
    assert done.exit_code == 1
    assert "rolled-back" in done.stdout


@pytest.mark.parametrize(
    "options",
    [
        ("--client-key", "nonsense"),
        ("--server-key", "AB" * 32),
        ("--head", "nowhere.json"),
    ],
)
def test_wrong_input_is_status_2(exported: Path, options: tuple[str, str]) -> None:
    done = run("verify", exported, *options)
    assert done.exit_code == 2
    assert done.stderr.startswith("error config-")


def test_a_file_that_is_no_export_is_status_2(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n{}\n{}\n")
    done = run("verify", path)
    assert done.exit_code == 2
    assert "ledger-export" in done.stderr


def test_epsilon_from_a_file_is_that_of_the_plan(asked: Any, exported: Path) -> None:
    found = result_of("recompute", exported)
    (ledger,) = found["ledgers"].values()
    assert found["findings"] == []
    assert ledger["jobs"][0]["recomputed"]["agrees"]
    figures = ledger["total_as_if_fixed_in_advance"]["epsilon"].values()
    assert all(0 < value < 8.1 for value in figures)
    assert ledger["noise_from_a_seed"]
    text = run("recompute", exported).stdout
    for part in ("PLD", "PRV", "closed form", "unit", "add/remove one user", "mode local"):
        assert part.lower() in text.lower(), part
    assert "nothing is promised" in text
    assert result_of("recompute", exported, "--delta", 1e-9)["ledgers"] != found["ledgers"]


def test_a_file_that_was_edited_is_not_recomputed(exported: Path) -> None:
    edit(exported, '"clip_grid":', '"clip_grid":1')
    found = result_of("recompute", exported, status=1)
    assert {one["layer"] for one in found["findings"]} == {"ledger"}
    (ledger,) = found["ledgers"].values()
    assert ledger["jobs"] == []
    assert set(ledger["total_as_if_fixed_in_advance"]["epsilon"].values()) == {None}


def test_recompute_reads_a_client_and_a_run(asked: Any, run_folder: Any) -> None:
    assert list(result_of("recompute", asked.folder)["ledgers"]) == ["shop-1"]
    done = run("recompute", run_folder.path)
    assert done.exit_code == 2  # two clients of this run were never asked
    assert "ledger-missing" in done.stderr


def test_a_broken_ledger_is_a_finding(asked: Any) -> None:
    blob = asked.folder / "ledger.sqlite"
    asked.ledger().close()
    (asked.folder / "ledger.sqlite-wal").unlink(missing_ok=True)
    data = blob.read_bytes()
    blob.write_bytes(data.replace(b'"session":0', b'"session":1'))
    found = result_of("recompute", asked.folder, status=1)
    assert {one["layer"] for one in found["findings"]} == {"ledger"}


def test_a_statement_is_written_for_a_client(asked: Any, tmp_path: Path) -> None:
    path = tmp_path / "s.html"
    found = result_of("statement", asked.folder, "--out", path)
    (one,) = found["statements"]
    assert one["client"] == "shop-1"
    assert one["promised"] is False
    assert one["lifetime"]["epsilon"] > 8
    page = path.read_text()
    assert "Privacy statement of shop-1" in page
    assert asked.rows()[-1].hash in page
    assert "1 page" in run("statement", asked.folder, "--out", path).stdout


def test_a_statement_takes_bounds_from_an_audit(
    asked: Any, run_folder: Any, tmp_path: Path
) -> None:
    folder = run_folder.path / "audit"
    folder.mkdir()
    bounds = [{"name": "One run with canaries", "words": "ε ≥ 1.5."}]
    (folder / "audit.json").write_text(json.dumps({"bounds": bounds}))
    path = tmp_path / "s.html"
    assert run("statement", asked.folder, "--out", path).exit_code == 0
    assert "One run with canaries: ε ≥ 1.5." in path.read_text()


def test_neither_a_client_nor_a_run(tmp_path: Path) -> None:
    done = run("statement", tmp_path, "--out", tmp_path / "s.html")
    assert done.exit_code == 2
    assert "run-not-found" in done.stderr


def test_no_command_is_help() -> None:
    text = run("--help").stdout
    for name in ("export", "verify", "recompute", "statement", "run", "attack"):
        assert name in text
