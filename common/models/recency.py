"""What a shopper has just been looking at: vectors of the last events, weighted by how late."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Floats, Histories, Ints

__all__ = ["contexts_after", "contexts_before"]

_TINY = 1e-12


def contexts_before(
    histories: Histories, vectors: Floats, decays: Sequence[float], length: int
) -> Floats:
    """What came before each event, `[events, len(decays) * dim]`, events as they are stored.

    For a decay γ and the event that is number p of its user, Σ_k γ^(k-1) v of the event p - k,
    k = 1 … `length`, brought to norm 1; all decays side by side, divided by √decays, so that
    a row has norm 1. Zero for a user's first event.

    Guarantee:
        A row is made of that user's events alone by operations on that row: nobody's presence
        moves a bit of it.

    Args:
        histories: `[users]`, in their order.
        vectors: of the items, `[items, dim]`.
        decays: γ, each within (0, 1].
        length: events that are looked back on.
    """
    starts = histories.indptr[:-1][histories.user_of_event]
    stored = np.arange(len(histories.items)) - starts
    places = stored if histories.order is None else histories.order
    return _looked_back(histories.sequences(), starts, starts + places, vectors, decays, length)


def contexts_after(
    histories: Histories, vectors: Floats, decays: Sequence[float], length: int
) -> Floats:
    """What each user's last events are, `[users, len(decays) * dim]`; zero without events."""
    starts, ends = histories.indptr[:-1], histories.indptr[1:]
    return _looked_back(histories.sequences(), starts, ends, vectors, decays, length)


def _looked_back(
    items: Ints, starts: Ints, ends: Ints, vectors: Floats, decays: Sequence[float], length: int
) -> Floats:
    """Contexts of the events in front of `ends`, none in front of `starts`, `[rows, ...]`."""
    parts = []
    for decay in decays:
        context = np.zeros((len(ends), vectors.shape[1]))
        for back in range(1, length + 1):
            rows = np.flatnonzero(ends - back >= starts)
            context[rows] += decay ** (back - 1) * vectors[items[ends[rows] - back]]
        norms = np.sqrt(np.square(context).sum(axis=1, keepdims=True))
        unit = context / np.maximum(norms, _TINY)
        parts.append(np.where(norms > _TINY, unit, 0.0) / np.sqrt(len(decays)))
    return np.hstack(parts)
