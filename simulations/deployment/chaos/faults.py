"""What can happen to a federation, drawn from a seed: to whom, how, when, for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from common.config import Settings

__all__ = ["PLACES", "Fault", "Kind", "Place", "draw"]

Place: TypeAlias = Literal[
    "server", "superexec", "server-app", "driver", "shop", "node", "task", "network"
]
"""Whom it happens to: the gateway with Flower's SuperLink, the process that starts server apps, a
server app, the operator's command, a shop as a whole, its node, a task of it, its network."""
Kind: TypeAlias = Literal[
    "kill", "end", "freeze", "away", "cut", "refuse", "hold", "delay", "throttle"
]
"""How: SIGKILL, SIGTERM, SIGSTOP until SIGCONT, stopped by its owner until it is started; and of a
network: connections reset, none accepted, nothing passes, everything is late, or slow."""

_PROCESS: Final[tuple[Kind, ...]] = ("kill", "end", "freeze")
PLACES: Final[dict[Place, tuple[Kind, ...]]] = {
    "server": _PROCESS,
    "superexec": _PROCESS,
    "server-app": _PROCESS,
    "driver": _PROCESS,
    "shop": (*_PROCESS, "away"),
    "node": _PROCESS,
    "task": _PROCESS,
    "network": ("cut", "refuse", "hold", "delay", "throttle"),
}
"""What may happen to whom."""
_OF_SHOPS: Final = frozenset({"shop", "node", "task", "network"})
_MOST: Final = 3


class Fault(Settings):
    """One thing that happens."""

    place: Place
    """Whom it happens to."""
    shop: str | None
    """Of which shop, if of one."""
    kind: Kind
    """How."""
    at_seconds: float
    """After the beginning of the training."""
    for_seconds: float
    """Until it is healed; what a supervisor starts again needs none."""

    @property
    def said(self) -> str:
        """In a word or two."""
        where = self.place if self.shop is None else f"{self.shop}'s {self.place}"
        return f"{self.kind} {where}"


def draw(
    rng: np.random.Generator, shops: Sequence[str], *, span_seconds: float, most_seconds: float
) -> list[Fault]:
    """One to three faults, in order of time.

    Args:
        rng: of this run alone.
        shops: names.
        span_seconds: they begin within this time.
        most_seconds: the longest until one is healed.
    """
    count = 1 + int(rng.integers(_MOST))
    found = [_one(rng, shops, span_seconds, most_seconds) for _ in range(count)]
    return sorted(found, key=lambda fault: fault.at_seconds)


def _one(rng: np.random.Generator, shops: Sequence[str], span: float, most: float) -> Fault:
    place = _choice(rng, list(PLACES))
    return Fault(
        place=place,
        shop=_choice(rng, shops) if place in _OF_SHOPS else None,
        kind=_choice(rng, PLACES[place]),
        at_seconds=round(float(rng.uniform(0, span)), 2),
        for_seconds=round(float(rng.uniform(0.2, most)), 2),
    )


def _choice(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]
