"""A refusal: a row in the ledger, one line in the client's own log, a code to the server.

Before it is known which server asks, anybody may ask anything any number of times: of such
refusals a day has at most `MOST_OF_STRANGERS` rows for each code. Every refusal of a server
that the policy and a signature have let in is a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, Final, TypeAlias

from client.guard.budget import BudgetError
from client.ledger_store import LedgerStore
from common.errors import Code, HushRecError
from common.protocol import SumCall, Task
from common.public_codes import told

__all__ = ["MOST_OF_STRANGERS", "Asked", "refusing"]

Asked: TypeAlias = Task | SumCall
"""What a server asks for."""

MOST_OF_STRANGERS: Final = 100
"""Rows of a UTC day, for each code, of what is refused before the server is known."""
_LONGEST_DETAIL: Final = 500
_FURTHER: Final = " (further ones of this day are not recorded)"
_UNRECORDED: Final = (Code.LEDGER_WRITE, Code.LEDGER_BROKEN, Code.LEDGER_FOREIGN)


@contextmanager
def refusing(
    ledger: LedgerStore,
    task: Asked | None = None,
    *,
    quote: bool = True,
    stranger: date | None = None,
) -> Iterator[None]:
    """Record what goes wrong inside as a `refuse` row, and let it go on.

    Whoever logs the error then says job and step as well: they are added to where it was.

    Args:
        ledger: where the row goes.
        task: what is refused, None while it could not be read.
        quote: write the error's text and its very code: only while no data was looked at,
            since a ledger is shown to others. That the log was replaced is no secret there:
            jobs name what they began with.
        stranger: today (UTC), while it is not known which server asks; else None.
    """
    try:
        yield
    except Exception as error:
        code = error.code if isinstance(error, HushRecError) else Code.INTERNAL
        if isinstance(error, HushRecError) and task is not None:
            place = f"job {task.job.job_id[:8]}… step {task.step}"
            error.where = f"{place}, {error.where}" if error.where else place
        if not quote and code is not Code.SNAPSHOT_CHANGED:
            code = told(error)
        if code not in _UNRECORDED:
            _record(ledger, _body(error, code, task, quote=quote), stranger)
        raise


def _record(ledger: LedgerStore, body: dict[str, Any], stranger: date | None) -> None:
    """Write the row, unless strangers have had theirs for today.

    How many they had is in the last row itself, `strangers`: day and rows by code.
    """
    with ledger.transaction():
        last = ledger.last("refuse")
        counted = {} if last is None else dict(last.body.get("strangers", {}))
        if stranger is not None:
            day, code = ledger.day(stranger).isoformat(), body["code"]
            if counted.get("day") != day:
                counted = {"day": day}
            counted[code] = int(counted.get(code, 0)) + 1
            if counted[code] > MOST_OF_STRANGERS:
                return
            if counted[code] == MOST_OF_STRANGERS:
                kept = _LONGEST_DETAIL - len(_FURTHER)
                body = {**body, "detail": body["detail"][:kept] + _FURTHER}
        ledger.append("refuse", {**body, "strangers": counted} if counted else body)


def _body(error: Exception, code: Code, task: Asked | None, *, quote: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "job_id": "" if task is None else task.job.job_id,
        "step": -1 if task is None else task.step,
        "code": str(code),
        "detail": _detail(error) if quote else type(error).__name__,
    }
    if isinstance(error, BudgetError) and error.would_be is not None:
        body["would_be"] = dict(error.would_be)
    return body


def _detail(error: Exception) -> str:
    """What was wrong, short enough for a row, without local paths.

    What a server sent may be long, or hold what no UTF-8 can write.
    """
    text = error.message if isinstance(error, HushRecError) else type(error).__name__
    return text[:_LONGEST_DETAIL].encode(errors="replace").decode()
