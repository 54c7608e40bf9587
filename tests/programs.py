"""What a command line means to the program that it names, without running it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
import typer

from hushrec import command_line


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """Options and arguments by name, as the program itself reads them.

    Raises click.UsageError or SystemExit for what it would refuse, LookupError for a program
    that is none of ours.
    """
    if words[:3] == ["python", "-I", "-m"]:
        return _of_module(words[3], list(words[4:]))
    if words[0] == "hushrec":
        return _of_command(_front_door(), list(words[1:]))
    raise LookupError(f"no program of ours: {words[0]}")


def _of_module(name: str, words: list[str]) -> dict[str, Any]:
    module = importlib.import_module(_runnable(name))
    if hasattr(module, "parser"):
        return vars(module.parser().parse_args(words))
    function = getattr(module, _run_by_typer(module.__file__ or ""))
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return _of_command(typer.main.get_command(app), words)


def _runnable(name: str) -> str:
    """A package is run by its `__main__`."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise LookupError(name)
    return f"{name}.__main__" if spec.submodule_search_locations is not None else name


def _run_by_typer(path: str) -> str:
    """NAME of `typer.run(NAME)`."""
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.run":
            return ast.unparse(node.args[0])
    raise LookupError(f"{path} runs nothing")


@cache
def _front_door() -> click.Command:
    return typer.main.get_command(command_line())


def _of_command(command: click.Command, words: list[str]) -> dict[str, Any]:
    while isinstance(command, click.Group):
        if not words or words[0] not in command.commands:
            raise click.UsageError(f"no such command: {' '.join(words)}")
        command, words = command.commands[words[0]], words[1:]
    return dict(command.make_context(command.name, words).params)
