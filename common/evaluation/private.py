"""Private evaluation: one bounded vector for each user, summed by a mechanism.

A step like any other: `contribution` runs at the client and its result goes to a
mechanism and nowhere else; `read_total` sees the noised total only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Histories, Ints
from common.evaluation import metrics
from common.evaluation.ranking import rank_of
from common.evaluation.scorers import FoldInModel
from common.privacy.contributions import SparseRows
from common.privacy.plan import ReleaseShape
from common.solvers.base import NoisyTotal

__all__ = ["STEP", "PrivateMetrics", "contribution", "evaluation_shape", "read_total"]

STEP: Final = "evaluation.leave_one_out"
_ENTRIES: Final = 3
_SCALE: Final = 1.0 / math.sqrt(_ENTRIES)


@dataclass(frozen=True)
class PrivateMetrics:
    """What a noised total says about a model. Public: post-processing of a release.

    Standard errors are of the noise alone, from the σ that is known (delta method for the
    ratios); the choice of users comes on top. Ratios are None where the noised number of
    users is not above twice its standard error, so that nothing can be said.

    Attributes:
        top_k: k.
        users: noised number of users with a held-out item, weighted as the total is.
        users_std: its standard error.
        hit_rate: HR@k, within [0, 1].
        hit_rate_std: its standard error.
        ndcg: NDCG@k, within [0, 1].
        ndcg_std: its standard error.
    """

    top_k: int
    users: float
    users_std: float
    hit_rate: float | None
    hit_rate_std: float | None
    ndcg: float | None
    ndcg_std: float | None


def evaluation_shape(share: float) -> ReleaseShape:
    """What the step asks to release.

    Args:
        share: of the budget, as in `ReleaseShape`.
    """
    return ReleaseShape(step=STEP, rows=_ENTRIES, width=1, share=share)


def contribution(
    histories: Histories, heldout: Ints, model: FoldInModel, users: Ints, *, top_k: int = 10
) -> SparseRows:
    """What each of `users` contributes to an evaluation: [1, HR@k, NDCG@k] / √3.

    The held-out item is ranked among all items that the user has no event on; ties count
    against it. Users without one contribute nothing.

    Guarantee:
        Unit user, add/remove: each entry is in [0, 1/√3], so the norm is at most 1
        whatever the model; `top_k` and the size of the catalogue are public. The mechanism
        clips all the same. A user's entries are the same to the last bit whoever else is
        among `users`, and no user's events make it raise.

    Args:
        histories: training events of all users of the client. An event on the held-out
            item is ignored in ranking.
        heldout: `[all users]`, positions of items, -1 for none.
        model: from public state.
        users: positions, strictly increasing; memory is a few `[items]`.
        top_k: k.
    """
    users = users[heldout[users] >= 0]
    ranks = np.empty(len(users), dtype=np.int64)
    for row in range(len(users)):
        ranks[row] = _rank_alone(histories, heldout, model, users[row : row + 1])
    # one table for everybody: a logarithm may round by its place in the array
    places = np.arange(top_k + 1)
    gains = np.append(metrics.ndcg(places[1:], places, top_k), 0.0)
    listed = np.minimum(ranks, top_k + 1) - 1
    columns = [np.ones(len(users)), (ranks <= top_k).astype(np.float64), gains[listed]]
    values = _SCALE * np.stack(columns, axis=1).reshape(-1, 1)
    indptr = _ENTRIES * np.arange(len(users) + 1, dtype=np.int64)
    rows = np.tile(np.arange(_ENTRIES, dtype=np.int64), len(users))
    return SparseRows(users, indptr, rows, values)


def _rank_alone(histories: Histories, heldout: Ints, model: FoldInModel, user: Ints) -> int:
    """Rank of the held-out item of one user, `user` `[1]`; last if it is not to be had.

    Made by operations of that user's own shape: in a batch, last bits of scores depend on
    the others, and a server that sends a model full of ties could make ranks of them.
    """
    own, target = histories.take(user), heldout[user]
    relevant = Histories(np.arange(2), target, np.ones(1), histories.n_items)
    try:
        with np.errstate(all="ignore"):
            scores = model.scores(model.fold_in(own))
        return int(rank_of(scores, relevant, _without(own, target))[0])
    except Exception:  # noqa: BLE001 - whatever one user's events do, nobody else may notice
        return histories.n_items


def read_total(total: NoisyTotal, *, top_k: int = 10) -> PrivateMetrics:
    """Metrics from the noised total.

    Args:
        total: `[3, 1]`, the sum of contributions and noise.
        top_k: k of the contributions.
    """
    users, hits, gains = (float(v) for v in total.values[:, 0] / _SCALE / total.sampling_rate)
    std = total.noise_std / _SCALE / total.sampling_rate
    hit_rate, hit_rate_std = _ratio(hits, users, std)
    ndcg, ndcg_std = _ratio(gains, users, std)
    return PrivateMetrics(top_k, users, std, hit_rate, hit_rate_std, ndcg, ndcg_std)


def _ratio(above: float, below: float, std: float) -> tuple[float | None, float | None]:
    """A ratio of two noised sums with its standard error, both with noise `std`."""
    if below <= 2.0 * std or below <= 0.0:
        return None, None
    ratio = min(max(above / below, 0.0), 1.0)
    return ratio, std * math.sqrt(1.0 + ratio**2) / below


def _without(histories: Histories, items: Ints) -> Histories:
    """Histories less one item for each user, `items` `[users]`."""
    return histories.keep(histories.items != items[histories.user_of_event])
