"""Evaluate a scorer on a split: values for each user, totals, and where they come from.

Exact, so for the evaluator of a simulation or for the eyes of the client whose users
these are: nothing here is a private release. `private` makes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from common.errors import ArtifactError, Code
from common.evaluation import metrics
from common.evaluation.baselines import popularity_counts
from common.evaluation.protocols import LeftOut, ProtocolName, Split
from common.evaluation.ranking import candidate_ranks, rank_of, top_items
from common.evaluation.scorers import Scorer
from common.evaluation.totals import Totals

__all__ = ["Evaluation", "evaluate", "metric_columns"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a scorer reached. Sensitive, as every exact metric is.

    Attributes:
        protocol: how held-out items were ranked.
        top_k: k of every `metric@k`.
        per_user: one row for each user with a held-out item: `user_id`, `rank` (best of
            the held-out items), `relevant` (how many), `activity` (training events),
            `popularity` (mean training users of the held-out items), and the metrics.
        totals: the same users added up; merges with those of other groups.
        left_out: users without a figure.
    """

    protocol: ProtocolName
    top_k: int
    per_user: pd.DataFrame
    totals: Totals
    left_out: LeftOut

    @property
    def metrics(self) -> dict[str, float]:
        """Means over users, and coverage and Gini of exposure."""
        return self.totals.values(self.top_k)


def evaluate(
    scorer: Scorer,
    split: Split,
    *,
    top_k: int = 10,
    batch: int = 512,
    item_vectors: NDArray[Any] | None = None,
) -> Evaluation:
    """Rank the held-out items of every user who has any.

    Rank metrics follow the protocol of the split. Novelty, diversity, coverage and exposure
    are of the `top_k` best among all items without a training event, in every protocol: a
    list out of 100 sampled candidates is shown to nobody.

    Args:
        scorer: asked for `batch` users at a time.
        split: who trains on what and is judged by what.
        top_k: k.
        batch: users at a time; memory is a few `[batch, items]`.
        item_vectors: `[items, dim]` for diversity; without them it is not computed.

    Raises:
        ArtifactError: `artifact-invalid`, the scores have the wrong shape.
    """
    information = metrics.self_information(popularity_counts(split.histories))
    frames, totals = [], Totals.empty(len(split.items))
    for start in range(0, len(split.evaluated), batch):
        users = split.evaluated[start : start + batch]
        scores = _checked(scorer.scores(users), len(users), len(split.items))
        lists = top_items(scores, split.histories.take(users), top_k)
        values = _rank_metrics(scores, split, users, top_k)
        values[f"novelty@{top_k}"] = metrics.novelty(lists, information)
        if item_vectors is not None:
            values[f"diversity@{top_k}"] = metrics.diversity(lists, item_vectors)
        rank = values.pop("rank")
        frames.append(_describe(split, users, rank).assign(**values))
        totals = totals.merge(Totals.of(values, lists, len(split.items)))
    per_user = pd.concat(frames, ignore_index=True)
    return Evaluation(split.protocol, top_k, per_user, totals, split.left_out)


def metric_columns(per_user: pd.DataFrame) -> list[str]:
    """The columns of `Evaluation.per_user` that are metrics."""
    return [name for name in per_user.columns if "@" in name]


def _checked(scores: NDArray[Any], n_users: int, n_items: int) -> NDArray[Any]:
    if scores.shape != (n_users, n_items):
        raise ArtifactError(
            Code.ARTIFACT_INVALID,
            f"scores have shape {scores.shape}, expected ({n_users}, {n_items}).",
            where="scorer",
            remedy="Evaluate a model with the catalogue that it was trained with.",
        )
    return scores


def _rank_metrics(scores: NDArray[Any], split: Split, users: Ints, top_k: int) -> dict[str, Floats]:
    """Everything that ranks decide, by name; `rank` is the best rank of each user."""
    relevant = split.relevant.take(users)
    if split.negatives is None:
        ranks = rank_of(scores, relevant, split.histories.take(users))
    else:
        ranks = candidate_ranks(scores, relevant.items, split.negatives[users])
    args = (ranks, relevant.indptr, top_k)
    return {
        "rank": metrics.best_rank(ranks, relevant.indptr),
        f"hr@{top_k}": metrics.hit_rate(*args),
        f"recall@{top_k}": metrics.recall(*args),
        f"recall_capped@{top_k}": metrics.recall(*args, capped=True),
        f"ndcg@{top_k}": metrics.ndcg(*args),
        f"map@{top_k}": metrics.average_precision(*args),
        f"mrr@{top_k}": metrics.reciprocal_rank(*args),
    }


def _describe(split: Split, users: Ints, rank: Floats) -> pd.DataFrame:
    """Who the users are; the metrics are added behind."""
    relevant = split.relevant.take(users)
    counts = popularity_counts(split.histories)[relevant.items]
    sums = np.bincount(relevant.user_of_event, counts, minlength=len(users))
    return pd.DataFrame(
        {
            "user_id": split.users[users],
            "rank": rank.astype(np.int64),
            "relevant": relevant.lengths,
            "activity": split.histories.lengths[users],
            "popularity": sums / relevant.lengths,
        }
    )
