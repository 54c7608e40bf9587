"""Every error of a command is one line with a code; exit statuses mean what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from common.errors import Code, ConfigError
from common.terminal import Format, FormatOption, Teller, finish, name_values, print_json


def run(work: Callable[[], int | None], **options: Any) -> Any:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        finish(work, **options)

    return CliRunner().invoke(app, [])


def failing(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize("status", [None, 0, 1])
def test_work_decides_the_status(status: int | None) -> None:
    assert run(lambda: status).exit_code == (status or 0)


def test_an_error_is_one_line_with_its_code_and_status_2() -> None:
    done = run(failing(ConfigError(Code.CONFIG_INVALID, "no [bold]way[/].", where="x", remedy="y")))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error config-invalid: x: no [bold]way[/]. y",
        "See docs/errors/config-invalid.md.",
    ]


def test_what_nobody_foresaw_has_a_code_and_no_text_of_its_own() -> None:
    done = run(failing(ValueError("alice bought a book")))
    assert done.exit_code == 2
    assert "internal" in done.stderr
    assert "alice" not in done.stderr


def test_what_nobody_foresaw_is_traced_on_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HUSHREC_DEBUG", "1")
    run(failing(ValueError("a defect")))
    assert any(record.exc_info for record in caplog.records)


def test_ctrl_c_says_how_to_go_on() -> None:
    done = run(failing(KeyboardInterrupt()), stopped="Nothing was lost.")
    assert done.exit_code == 130
    assert done.stderr.strip() == "Stopped. Nothing was lost."


def test_an_exit_and_a_broken_pipe_pass_through() -> None:
    assert run(failing(typer.Exit(7))).exit_code == 7
    with pytest.raises(BrokenPipeError):
        finish(failing(BrokenPipeError()))


def test_the_result_is_json_without_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"ε": 1.5})
    assert json.loads(capsys.readouterr().out) == {"ε": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        print_json({"ε": float("nan")})


def test_the_option_is_shared() -> None:
    app = typer.Typer()

    @app.command()
    def command(output: FormatOption = Format.TEXT) -> None:
        typer.echo(output.value)

    assert CliRunner().invoke(app, ["--format", "json"]).stdout == "json\n"


def test_progress_in_a_log_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Teller() as teller:
        teller.tell("reading [1/2]")
        teller.tell("done")
    found = capsys.readouterr()
    assert found.err == "reading [1/2]\ndone\n"
    assert found.out == ""


def test_pairs_of_names_and_values() -> None:
    pairs = ["rounds=3", "optimizer=sgd", "share=0.5", "empty=", "text=a=b"]
    assert name_values(pairs) == {
        "rounds": 3,
        "optimizer": "sgd",
        "share": 0.5,
        "empty": "",
        "text": "a=b",
    }
    for wrong in ("rounds", "=3"):
        with pytest.raises(typer.BadParameter):
            name_values([wrong])
