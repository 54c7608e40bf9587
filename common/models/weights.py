"""Who may read how strongly a user met an item. The one place that decides it.

A log has a weight for each event: a rating, a quantity. What reads it says so itself, by a
property `reads_weights`: the model `neural` whose targets are ratings, and the solver that trains
it. Everything else is given histories of weight 1, and nothing that depends on a weight.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from common.arrays import Histories

__all__ = ["histories_for", "reads_weights"]


@runtime_checkable
class _Asked(Protocol):
    """A solver or a model that can be asked."""

    @property
    def reads_weights(self) -> bool: ...


def reads_weights(reader: object) -> bool:
    """Whether a solver or a model takes the weights of events for ratings."""
    return isinstance(reader, _Asked) and reader.reads_weights


def histories_for(reader: object, rated: Histories) -> Histories:
    """Histories as a solver or a model may read them.

    Guarantee:
        What `reader` is given does not depend on weights, unless it says that it reads them.

    Args:
        reader: who reads.
        rated: with each entry's rating for its weight, NaN where there is none.
    """
    return rated if reads_weights(reader) else rated.unweighted()
