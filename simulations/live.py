"""What a person sees while a run goes on: a progress bar, a table that grows, one line of words.

Everything goes to stderr: stdout is for the result. Where stderr is no terminal, it gets plain
lines instead: one for each phase and each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from server.record import RoundRecord

__all__ = ["LiveView"]

_COLUMNS: Final = ("clients", "refused", "S/N", "MB down", "MB up", "s")
_SESSIONS: Final = "sessions"
"""One more column, where sums are secure: how often each was tried."""


class LiveView:
    """A server's observer and a runner's teller. Use as a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._plain = not self._console.is_terminal
        self._phase = ""
        self._records: list[RoundRecord] = []
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("preparing", total=None)
        self._live = Live(self._view(), console=self._console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if not self._plain:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._plain:
            return
        self._live.__exit__(kind, error, trace)
        if self._records:
            self._console.print(_table(self._records))

    def tell(self, what: str) -> None:
        """Say what is being done."""
        self._progress.update(self._task, description=what)
        phase = what.partition(" ")[0]  # `refit` of `refit 17/500`
        if self._plain and phase != self._phase:
            self._phase = phase
            self._line(phase)

    def resume(self, records: Sequence[RoundRecord]) -> None:
        """Show rounds that an earlier process completed."""
        for record in records:
            self.round_done(record)

    def round_done(self, record: RoundRecord) -> None:
        """Add a line to the table."""
        self._records.append(record)
        self._progress.update(
            self._task, description="training", total=record.of, completed=record.step + 1
        )
        if self._plain:
            self._line(_sentence(record))
        else:
            self._live.update(self._view())

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _view(self) -> RenderableType:
        return Group(_table(self._records), self._progress) if self._records else self._progress


def _sentence(record: RoundRecord) -> str:
    cells = ", ".join(f"{value} {name}" for name, value in _cells(record).items())
    return f"{record.step + 1}/{record.of} {record.name}: {cells}"


def _cells(record: RoundRecord) -> dict[str, str]:
    """Text by column."""
    values = (
        str(len(record.answered)),
        str(len(record.refused)),
        _ratio(record),
        f"{record.bytes_down / 1e6:.2f}",
        f"{record.bytes_up / 1e6:.2f}",
        f"{record.seconds:.2f}",
    )
    cells = dict(zip(_COLUMNS, values, strict=True))
    return {**cells, _SESSIONS: str(len(record.sessions))} if record.sessions else cells


def _ratio(record: RoundRecord) -> str:
    if record.noise_std is None:
        return "–"
    return "no noise" if record.signal_to_noise is None else f"{record.signal_to_noise:.2f}"


def _table(records: Sequence[RoundRecord]) -> Table:
    table = Table(title="Rounds", title_justify="left")
    table.add_column("step", no_wrap=True, min_width=22)
    secure = any(record.sessions for record in records)
    columns = (*_COLUMNS, _SESSIONS) if secure else _COLUMNS
    for name in columns:
        table.add_column(name, justify="right")
    for record in records:
        cells = _cells(record)
        table.add_row(record.name, *(cells.get(name, "–") for name in columns))
    return table
