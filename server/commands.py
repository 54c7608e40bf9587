"""`hushrec seen`: what the server received in secure sums, for those who do not believe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from common.errors import Code, RunError
from common.schedule import schedule_of
from common.terminal import Format, FormatOption, finish, print_json
from server.app import read_job
from server.seen import Seen, recordings
from server.seen_text import print_session
from server.seen_view import view_session
from server.sessions import SUMMED

__all__ = ["STANDS_OUT", "seen"]

STANDS_OUT: Final = 1
"""Exit status where masked words do not look masked."""


def seen(
    run: Annotated[Path, typer.Argument(help="Folder of the run, at the server.")],
    step: Annotated[int | None, typer.Option(help="Index of the step; absent: the last.")] = None,
    session: Annotated[
        int | None, typer.Option(help="Number of the attempt; absent: the one with the total.")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show what the server received in a secure sum, test it, and show what it learns.

    Status 1 if masked words stand out.
    """

    def work() -> int:
        job = read_job(run)
        found = recordings(run / "server")
        chosen = _chosen(found, step, session)
        view = view_session(chosen, schedule_of(job).plan.releases[chosen.step])
        recorded = [(one.step, one.session) for one in found]
        if output is Format.JSON:
            values = view.model_dump(mode="json")
            print_json({**values, "stands_out": view.stands_out, "recorded": recorded})
        else:
            print_session(view, recorded)
        return STANDS_OUT if view.stands_out else 0

    finish(work)


def _chosen(found: Sequence[Seen], step: int | None, session: int | None) -> Seen:
    """The session that was asked for; of several the last that made a total, else the last.

    Raises:
        RunError: `run-not-found`, nothing was recorded of it.
    """
    fitting = [one for one in found if step in (None, one.step) and session in (None, one.session)]
    if not fitting:
        steps = ", ".join(f"step {one.step} session {one.session}" for one in found)
        raise RunError(
            Code.RUN_NOT_FOUND,
            "no such secure sum was recorded.",
            where=f"step {step}, session {session}",
            remedy=f"Recorded: {steps}.",
        )
    summed = [one for one in fitting if one.transcript.ended.outcome == SUMMED]
    return (summed or fitting)[-1]
