"""The front door: commands of the wings that are there, and no more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest
import typer
from typer.testing import CliRunner

from hushrec import command_line


def without(monkeypatch: pytest.MonkeyPatch, *wings: str) -> None:
    """As in an image that lacks them."""
    for name in [name for name in sys.modules if name.partition(".")[0] in wings]:
        monkeypatch.delitem(sys.modules, name)
    for wing in wings:
        monkeypatch.setitem(sys.modules, wing, None)


@pytest.fixture
def words() -> Callable[..., str]:
    """Help of a group."""
    return lambda *group: CliRunner().invoke(command_line(), [*group, "--help"]).stdout


def test_all_commands(words: Callable[..., str]) -> None:
    for name in ("budget", "plan", "audit", "simulate"):
        assert name in words()
    for name in ("one-run", "many-run", "membership", "reconstruction"):
        assert name in words("audit", "attack")


def test_a_client_without_the_lab_can_still_show_and_check(
    monkeypatch: pytest.MonkeyPatch, words: Callable[..., str]
) -> None:
    without(monkeypatch, "simulations", "server")
    text = words()
    assert "budget" in text
    assert "simulate" not in text
    inner = words("audit")
    for name in ("export", "verify", "recompute", "statement"):
        assert name in inner
    assert "attack" not in inner
    assert CliRunner().invoke(command_line(), ["audit", "nowhere"]).exit_code == 2


def test_a_server_alone_has_no_client_commands(
    monkeypatch: pytest.MonkeyPatch, words: Callable[..., str]
) -> None:
    without(monkeypatch, "client", "simulations")
    assert "budget" not in words()


def test_a_wing_that_lacks_what_it_needs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "simulations")
    monkeypatch.setitem(sys.modules, "client", None)
    command_line()  # both are missing: nothing is
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "simulations.runner", None)
    monkeypatch.delitem(sys.modules, "simulations.commands", raising=False)
    command_line()  # a part of a wing that is missing is a wing that is missing
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "server.app", None)
    for name in [name for name in sys.modules if name.startswith("simulations")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError):
        command_line()


def test_two_command_lines_do_not_share_a_group() -> None:
    command_line()
    text = CliRunner().invoke(command_line(), ["audit", "--help"]).stdout
    assert text.count("recompute") == 1
    assert CliRunner().invoke(command_line(), ["--version"]).exit_code == 0


def names(command: click.Command) -> dict[str, object]:
    """Everything below a group."""
    if not isinstance(command, click.Group):
        return {}
    return {name: names(below) for name, below in command.commands.items()}


def test_one_word_loads_all_of_its_commands() -> None:
    whole = names(typer.main.get_command(command_line()))
    for word, below in whole.items():
        found = names(typer.main.get_command(command_line(word)))
        assert found[word] == below
        assert len(found) < len(whole) / 2
    assert names(typer.main.get_command(command_line("no-such-word"))) == whole


@pytest.mark.parametrize("word", ["enroll", "bundle", "client", "server", "generate", "budget"])
def test_what_an_owner_does_every_day_loads_no_torch(word: str) -> None:
    code = (
        "import sys; sys.argv = ['hushrec', sys.argv[1], '--help']\n"
        "from hushrec import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'opacus', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, word], check=True, capture_output=True, timeout=300)
