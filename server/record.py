"""What a round was, in figures that the server may know."""

from __future__ import annotations

from typing import Protocol

from common.config import Settings
from server.sessions import SessionRecord

__all__ = ["Observer", "RoundRecord", "SilentObserver"]


class RoundRecord(Settings):
    """One completed round; stored with its checkpoint."""

    step: int
    """Index of the step, from 0."""
    of: int
    """Steps in the job."""
    name: str
    """Name of the step."""
    answered: tuple[str, ...]
    """Clients whose releases were used, in order of name."""
    refused: dict[str, str]
    """Reason code by client, for those who sent none."""
    seconds: float
    """Wall time."""
    bytes_down: int
    """Bytes of arrays sent to all clients; in a secure sum of all messages, headers too."""
    bytes_up: int
    """Bytes of arrays received from them, or of all messages."""
    noise_std: float | None
    """Standard deviation of the noise in each entry of the weighted total; None where states
    are averaged and there is no total."""
    signal_to_noise: float | None
    """Root mean square of the signal over `noise_std`, estimated from the total; None
    without noise or without a total."""
    sessions: tuple[SessionRecord, ...] = ()
    """Every session of a secure sum, the last one with the total; empty in other modes."""


class Observer(Protocol):
    """Told about the rounds, for a live table or a log."""

    def round_done(self, record: RoundRecord) -> None:
        """Called after the checkpoint of a round is on disk."""
        ...


class SilentObserver:
    """Shows nothing."""

    def round_done(self, record: RoundRecord) -> None:
        """Do nothing."""
