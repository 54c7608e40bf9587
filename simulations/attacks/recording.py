"""The in-process grid with its ear to the wire: every message and its reply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from flwr.app import Message

from client.app import make_app
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessGrid

__all__ = ["RecordingGrid"]


class RecordingGrid(InProcessGrid):
    """What the server or a wiretapper sees of a prepared run.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        super().__init__(make_app(simulation=True), client_folders(run))
        self.exchanged: list[tuple[Message, Message]] = []

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """As the grid beneath; each message and its reply are kept in `exchanged`."""
        for message in messages:
            (reply,) = super().send_and_receive([message], timeout=timeout)
            self.exchanged.append((message, reply))
            yield reply
