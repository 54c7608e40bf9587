"""The monitor: its pages, until the process is told to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from threading import Thread
from typing import Any

from common.address import Address
from common.http_pages import Answer, Page, PageServer
from server.monitor.lookout import Lookout
from server.monitor.metrics import metrics_page
from server.monitor.page import render
from server.monitor.view import HomeView

__all__ = ["health_page", "pages_of", "serve"]


def serve(
    lookout: Lookout, at: Address, say: Callable[[str], None], names: Collection[str] = ()
) -> None:
    """Serve until the process is told to end.

    Args:
        lookout: at the home.
        at: where to listen.
        say: is told in a line what listens where, once it does.
        names: of this host that requests may come with, beside its addresses and `localhost`.

    Raises:
        ConfigError: nothing can listen there.
    """
    with PageServer(at, pages_of(lookout), names=names) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: _end(server))
        say(f"monitor   http://{at}  /, /health and /metrics")
        server.serve_forever()


def pages_of(lookout: Lookout) -> Mapping[str, Page]:
    """What is served, by path."""
    return {
        "/": lambda: Answer.html(render(lookout.look())),
        "/health": lambda: health_page(lookout.look()),
        "/metrics": lambda: metrics_page(lookout.look()),
    }


def health_page(view: HomeView) -> Answer:
    """200 if nothing is known to be wrong, else 503 with what it is."""
    values: dict[str, Any] = {"ok": not view.faults, "faults": list(view.faults)}
    status = HTTPStatus.SERVICE_UNAVAILABLE if view.faults else HTTPStatus.OK
    return Answer.json(values | {"at": view.at.isoformat()}, status)


def _end(server: PageServer) -> None:
    Thread(target=server.shutdown).start()  # it waits for the loop that the signal interrupts
