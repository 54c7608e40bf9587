"""`/health`: one object, and 503 where somebody has to look."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from client.monitor.reading import Reading, Watched
from client.running.state import Parts
from common.errors import Code
from common.http_pages import Answer

__all__ = ["health", "health_page"]


def health_page(watched: Watched) -> Answer:
    """The answer to `/health`."""
    found = health(watched)
    good = found["status"] == "ok"
    return Answer.json(found, HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)


def health(watched: Watched) -> dict[str, Any]:
    """How a client is.

    Guarantee:
        As `Reading` and `PartState`: no count of users, events or calls, no text of an error,
        no time of a computation.

    Returns:
        `status` is `ok` where both parts have a process, policy and ledger can be read, the
        ledger is not an old one, and the authority's certificate holds. That the server is
        away, or that no model has come yet, is no failure of this client.
    """
    reading = watched.reading()
    return {
        "status": "ok" if _is_good(reading, watched.parts) else "failing",
        "client": watched.owner.settings.name,
        **{
            name: {"state": part.being, "code": part.code, "restarts": part.restarts}
            for name, part in watched.parts.items()
        },
        "policy": _checked(reading.policy),
        "ledger": _checked(_ledger_code(reading)),
        "authority": {**_checked(reading.authority), "days_left": reading.days_left},
        "model": None
        if reading.model is None
        else {"version": reading.model.version, "serial": reading.model.serial},
    }


def _is_good(reading: Reading, parts: Parts) -> bool:
    problems = (reading.policy, _ledger_code(reading), reading.authority)
    holds = reading.days_left is None or reading.days_left >= 0
    return not any(problems) and holds and all(part.is_up for _, part in parts.items())


def _ledger_code(reading: Reading) -> str | None:
    return str(Code.LEDGER_ROLLED_BACK) if reading.is_halted else reading.ledger


def _checked(code: str | None) -> dict[str, Any]:
    return {"readable": code is None, "code": code}
