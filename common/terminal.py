"""What every command does at its ends: one result on stdout, everything else on stderr.

Exit status: 0, 1 when an audit finds a broken promise or a new process may get on, 2 after an
error, 130 after Ctrl-C.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Annotated, Any, Final, Self, TypeAlias

import typer
from rich.console import Console
from rich.status import Status

from common import logs
from common.errors import Code, HushRecError, RunError

__all__ = ["Format", "FormatOption", "Teller", "finish", "name_values", "print_json"]

_LOG: Final = logging.getLogger(__name__)


class Format(StrEnum):
    """How the result is written to stdout."""

    TEXT = "text"
    JSON = "json"


FormatOption: TypeAlias = Annotated[Format, typer.Option("--format", help="What stdout gets.")]
"""The option that every command has."""


def finish(work: Callable[[], int | None], *, stopped: str = "") -> None:
    """Do the work of a command; errors become one line and exit status 2.

    `HUSHREC_DEBUG=1` shows the trace of an error that nobody foresaw.

    Args:
        work: returns the exit status, None for 0.
        stopped: said after Ctrl-C, which exits with 130.

    Raises:
        typer.Exit: with any status but 0.
    """
    if not logs.is_configured() and not logs.configure_by_environment("command"):
        logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    debug = os.environ.get("HUSHREC_DEBUG", "0") not in ("", "0")
    _LOG.setLevel(logging.DEBUG if debug else logging.INFO)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        status = work() or 0
    except HushRecError as error:
        _explain(error, console)
        raise typer.Exit(error.exit_status) from None
    except (BrokenPipeError, typer.Exit, typer.BadParameter):
        raise  # whoever reads stdout has left; or the command line's own business
    except Exception as error:  # noqa: BLE001  the last resort: whatever it is, it has a code
        _LOG.debug("unforeseen", exc_info=True)
        _explain(_internal(error), console)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.print(f"Stopped. {stopped}".strip(), markup=False)
        raise typer.Exit(130) from None
    if status:
        raise typer.Exit(status)


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object on stdout: no NaN, no infinity."""
    typer.echo(json.dumps(values, ensure_ascii=False, allow_nan=False))


def name_values(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """`NAME=VALUE` pairs; a value that is JSON is taken as such, anything else is text.

    Raises:
        typer.BadParameter: one of them is no pair.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint=option)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


class Teller:
    """Says on stderr what is being done: one line that changes, or plain lines in a log.

    Use as a context manager.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def tell(self, what: str) -> None:
        """Say what is being done."""
        if self._status is None:
            self._console.print(what, markup=False, highlight=False, soft_wrap=True)
        else:
            self._status.update(what)


def _internal(error: Exception) -> RunError:
    return RunError(
        Code.INTERNAL,
        f"{type(error).__name__}, which nobody foresaw.",
        remedy="HUSHREC_DEBUG=1 shows the whole trace; please report it.",
    )


def _explain(error: HushRecError, console: Console) -> None:
    """For a person in full; a log gets what may stand in a log."""
    if logs.is_guarded():
        _LOG.error("ends with an error", exc_info=error)
        return
    console.print("[bold red]error[/] ", end="")
    console.print(f"{error.code}: {_sentence(error)}", markup=False)
    console.print(f"See docs/errors/{error.code}.md.", markup=False)


def _sentence(error: HushRecError) -> str:
    place = f"{error.where}: " if error.where else ""
    return f"{place}{error.message} {error.remedy}".strip()
