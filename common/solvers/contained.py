"""Contributions of a few users at a time: who fails is nothing, and nobody else notices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from common.arrays import Ints
from common.logs import ONLY_HERE
from common.privacy.contributions import Contributions

__all__ = ["USERS", "contained"]

USERS: Final = 256
"""Whose contributions are in memory together, however many users there are."""
_LOG = logging.getLogger("hushrec.solvers")


def contained(
    users: Ints,
    make: Callable[[Ints], Iterable[Contributions]],
    at_once: int | None = None,
) -> Iterator[Contributions]:
    """What `make` makes of `users`, some at a time; where it raises, of each of them alone.

    Guarantee:
        If what `make` makes of a user depends on that user alone, whoever else it is given,
        so does what is yielded, and a user of whom it raises is missing and nobody else.
        Memory does not grow with the number of users: no crowd makes `make` fail.

    Args:
        users: positions, increasing.
        make: contributions of some of them; whole before any of it is yielded.
        at_once: how many at most, where the contributions are large; at most `USERS`.
    """
    step = USERS if at_once is None else max(1, min(USERS, at_once))
    for start in range(0, len(users), step):
        some = users[start : start + step]
        try:
            made = list(make(some))
        except Exception as error:  # noqa: BLE001 - whatever one user's events do
            _LOG.error("a user's contribution fails: a defect", exc_info=error, extra=ONLY_HERE)
            made = [part for one in range(len(some)) for part in _alone(some[one : one + 1], make)]
        yield from made


def _alone(user: Ints, make: Callable[[Ints], Iterable[Contributions]]) -> list[Contributions]:
    try:
        return list(make(user))
    except Exception:  # noqa: BLE001 - told above
        return []
