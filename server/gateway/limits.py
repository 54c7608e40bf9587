"""What a caller from outside may take before anybody knows who it is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds of the outside.

    Attributes:
        connections: open ones, in all; more are closed at once.
        per_address: open ones from one address.
        head_bytes: of a request line with its headers.
        head_seconds: from opening, or from the last answer, to the end of the next head.
        request_seconds: from a request's head to the end of its answer.
        body_bytes: of a request's body; more is answered 413. Flower cuts arrays into objects
            of 5 MiB.
    """

    connections: int = 512
    per_address: int = 64
    head_bytes: int = 16 * 2**10
    head_seconds: float = 20.0
    request_seconds: float = 300.0
    body_bytes: int = 32 * 2**20
