"""Ranking the catalogue by what one user left in a release.

The attacker knows how a contribution is made, so they look for the history whose contribution
lies nearest to what remains: under Gaussian noise the likeliest one. Every solver here adds
nearly rank-one matrices, an item's strength times one direction; the search goes back and
forth between the direction and the items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from common.arrays import Floats, Histories, Ints

__all__ = [
    "average_precision",
    "chance_average_precision",
    "log_ratios",
    "lone_rows",
    "popularity_prior",
    "precision",
    "rehearsed",
    "search",
]

Imagine: TypeAlias = Callable[[Histories], Floats]
"""Contribution of each imagined user, `[users, items, width]`."""

_TURNS: Final = 8
_TRUSTS: Final = (0.0, 0.25, 0.5, 1.0)
_TINY: Final = 1e-300
_LEAST, _MOST = 1e-4, 0.99


def search(remains: Floats, sizes: Ints, imagine: Imagine, lone: Floats) -> tuple[Floats, Floats]:
    """Scores of all items by the release alone; the user's own should stand first.

    Two searches start from the item whose lone contribution fits each row, and from the
    strongest direction in what remains; the history that fits better decides.

    Args:
        remains: `[targets, items, width]`, the release less everybody else.
        sizes: `[targets]`, length of each history, known to the attacker.
        imagine: what users with given histories would contribute.
        lone: `[items, width]`, by `lone_rows`.

    Returns:
        Scores `[targets, items]`, and the mean strength of the history found, `[targets]`.
    """
    best = np.full(len(remains), -np.inf)
    chosen, strength = np.zeros(remains.shape[:2]), np.zeros(len(remains))
    for scores in (np.einsum("tiw,iw->ti", remains, lone), _by_direction(remains)):
        for _ in range(_TURNS):
            guess = _largest(scores, sizes)
            imagined = imagine(guess)
            fit = np.einsum("tiw,tiw->t", 2 * remains - imagined, imagined)
            scores, mean = _against(remains, imagined, guess)
            better = fit > best
            best[better] = fit[better]
            chosen[better], strength[better] = scores[better], mean[better]
    return chosen, strength


def log_ratios(
    remains: Floats,
    sizes: Ints,
    imagine: Imagine,
    lone: Floats,
    noise_std: float,
    log_odds: Floats,
) -> Floats:
    """Log likelihood ratio of every item, along each of two directions.

    An item's row has strength a or 0 along the user's direction, under noise: the ratio is
    (a s - a²/2)/σ². The direction is that of the history that was searched for, or that of
    the history that was likeliest before the release.

    Args:
        remains: `[targets, items, width]`.
        sizes: `[targets]`.
        imagine: what users with given histories would contribute.
        lone: `[items, width]`, by `lone_rows`.
        noise_std: σ, above 0.
        log_odds: `[targets, items]`, of each item before the release.

    Returns:
        `[2, targets, items]`.
    """
    guess = _largest(log_odds, sizes)
    found = (search(remains, sizes, imagine, lone), _against(remains, imagine(guess), guess))
    return np.stack([mean[:, None] * scores / noise_std**2 for scores, mean in found])


def rehearsed(ratios: Floats, log_odds: Floats, truth: Histories) -> tuple[int, float]:
    """Which direction and how much trust in it found most where the truth is known.

    An attacker rehearses on other users with noise of their own making: a direction that was
    searched for fits the noise too, and ratios along it promise too much.

    Returns:
        Position in `ratios`, and what it is multiplied by; 0 where a release of that kind is
        of no use.
    """
    found = [
        (float(average_precision(log_odds + trust * ratios[way], truth).mean()), -trust, way)
        for way in range(len(ratios))
        for trust in _TRUSTS
    ]
    _, trust, way = max(found)
    return way, -trust


def lone_rows(imagine: Imagine, items: int, width: int) -> Floats:
    """The row of each item for a user who has nothing else, norm 1, `[items, width]`."""
    rows = np.zeros((items, width))
    for start in range(0, items, 64):
        lone = np.arange(start, min(start + 64, items), dtype=np.int64)
        indptr = np.arange(len(lone) + 1, dtype=np.int64)
        made = imagine(Histories(indptr, lone, np.ones(len(lone)), items))
        rows[lone] = made[np.arange(len(lone)), lone]
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    return rows


def _by_direction(remains: Floats) -> Floats:
    """Rows along the strongest direction, its sign the one with few large values."""
    along = np.einsum("tiw,tw->ti", remains, _direction(remains))
    sign = np.where((along**3).sum(axis=1) < 0, -1.0, 1.0)
    return np.asarray(along * sign[:, None], dtype=np.float64)


def _direction(matrices: Floats) -> Floats:
    """First right singular vector of each matrix, `[targets, width]`."""
    gram = np.einsum("tiw,tiv->twv", matrices, matrices)
    return np.asarray(np.linalg.eigh(gram)[1][:, :, -1], dtype=np.float64)


def _against(remains: Floats, imagined: Floats, guess: Histories) -> tuple[Floats, Floats]:
    """Rows along the direction of an imagined contribution, and its mean strength there."""
    direction = _direction(imagined)
    strength = np.einsum("tiw,tw->ti", imagined, direction)
    mean = _summed(strength, guess) / np.maximum(guess.lengths, 1)
    sign = np.where(mean < 0, -1.0, 1.0)
    scores = np.einsum("tiw,tw->ti", remains, direction) * sign[:, None]
    return np.asarray(scores, dtype=np.float64), np.abs(mean)


def _summed(values: Floats, guess: Histories) -> Floats:
    """Values of the guessed items, added up for each target, `[targets]`."""
    owner = guess.user_of_event
    chosen = values[owner, guess.items]
    return np.asarray(np.bincount(owner, chosen, minlength=guess.n_users), dtype=np.float64)


def popularity_prior(histories: Histories, users: Ints) -> Floats:
    """Log odds of every item for each of `users` by how many others have it, `[users, items]`."""
    counts = np.bincount(histories.items, minlength=histories.n_items).astype(np.float64)
    own = np.zeros((len(users), histories.n_items))
    chosen = histories.take(users)
    own[chosen.user_of_event, chosen.items] = 1.0
    others = counts - own
    share = others / np.maximum(others.sum(axis=1, keepdims=True), 1.0)
    chance = np.clip(share * chosen.lengths[:, None], _LEAST, _MOST)
    # below the floor the order of counts is kept
    return np.asarray(np.log(chance / (1 - chance)) + 1e-9 * others, dtype=np.float64)


def precision(scores: Floats, truth: Histories) -> Floats:
    """Share of the |history| best items that are the user's own, `[targets]`."""
    hits = _hits(scores, truth)
    first = np.arange(hits.shape[1]) < truth.lengths[:, None]
    return np.asarray((hits & first).sum(axis=1) / truth.lengths, dtype=np.float64)


def average_precision(scores: Floats, truth: Histories) -> Floats:
    """Mean over the user's items of the precision down to each, over |history|, `[targets]`."""
    hits = _hits(scores, truth)
    down = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return np.asarray((down * hits).sum(axis=1) / truth.lengths, dtype=np.float64)


def chance_average_precision(size: int, items: int) -> float:
    """Expected average precision of a random order: (H_M + (n-1)/(M-1) (M - H_M)) / M."""
    harmonic = float((1.0 / np.arange(1, items + 1)).sum())
    if items == 1:
        return 1.0
    return (harmonic + (size - 1) / (items - 1) * (items - harmonic)) / items


def _hits(scores: Floats, truth: Histories) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Whether each place of the ranking holds one of the user's items, `[targets, items]`."""
    own = np.zeros(scores.shape, dtype=np.bool_)
    own[truth.user_of_event, truth.items] = True
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(own, order, axis=1))


def _largest(scores: Floats, sizes: Ints) -> Histories:
    """The `sizes` best items of each target as a history."""
    order = np.argsort(-scores, axis=1, kind="stable")
    items = [np.sort(row[:size]) for row, size in zip(order, sizes, strict=True)]
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    joined = np.concatenate(items).astype(np.int64)
    return Histories(indptr, joined, np.ones(len(joined)), scores.shape[1])
