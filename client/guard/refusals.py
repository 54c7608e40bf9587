"""A refusal: a row in the ledger, one line in the client's own log, a code to the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from client.guard.budget import BudgetError
from client.ledger_store import LedgerStore
from common.errors import Code, HushRecError
from common.protocol import Task

__all__ = ["refusing"]

_LONGEST_DETAIL: Final = 500
_UNRECORDED: Final = (Code.LEDGER_WRITE, Code.LEDGER_BROKEN, Code.LEDGER_FOREIGN)


@contextmanager
def refusing(
    ledger: LedgerStore, task: Task | None = None, *, quote: bool = True
) -> Iterator[None]:
    """Record what goes wrong inside as a `refuse` row, and let it go on.

    Whoever logs the error then says job and step as well: they are added to where it was.

    Args:
        ledger: where the row goes.
        task: what is refused, None while it could not be read.
        quote: write the error's text too: only while no data was looked at, since a
            ledger is shown to others.
    """
    try:
        yield
    except Exception as error:
        code = error.code if isinstance(error, HushRecError) else Code.INTERNAL
        if isinstance(error, HushRecError) and task is not None:
            place = f"job {task.job.job_id[:8]}… step {task.step}"
            error.where = f"{place}, {error.where}" if error.where else place
        if code not in _UNRECORDED:
            ledger.append("refuse", _body(error, code, task, quote=quote))
        raise


def _body(error: Exception, code: Code, task: Task | None, *, quote: bool) -> dict[str, Any]:
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
