from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from common.arrays import Floats, Histories, Ints
from common.errors import ArtifactError, Code
from common.evaluation import protocols
from common.evaluation.baselines import PopularityScorer, RandomScorer, popularity_counts
from common.evaluation.evaluate import evaluate, metric_columns
from common.evaluation.protocols import Split
from common.evaluation.scorers import GroupScorer, JointScorer
from common.models.fold_in import FoldIn
from common.models.mf import MatrixFactorisation

ITEMS = pd.Index([f"i{n:02d}" for n in range(40)])


def table(n_users: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{u:03d}", ITEMS[i], t)
        for u in range(n_users)
        for t, i in enumerate(rng.permutation(40)[: rng.integers(1, 12)])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "datetime"])
    frame["datetime"] = pd.to_datetime(frame["datetime"], unit="s", utc=True)
    return frame.assign(weight=1.0)


def splits() -> dict[str, Split]:
    events = table()
    return {
        "full": protocols.leave_one_out(events, ITEMS),
        "ncf": protocols.ncf(events, ITEMS, np.random.default_rng(1), 20),
        "temporal": protocols.temporal(events, ITEMS, quantile=0.6),
    }


def slow_hit_and_ndcg(split: Split, scores: Floats, user: int, k: int) -> tuple[float, float]:
    """From a sorted list of candidates, with the target behind its ties."""
    known = set(split.histories.take(np.array([user])).items.tolist())
    relevant = set(split.relevant.take(np.array([user])).items.tolist())
    candidates = set(range(len(split.items))) - known
    if split.negatives is not None:
        candidates = set(split.negatives[user].tolist()) - {-1} | relevant
    ordered = sorted(candidates, key=lambda i: (-scores[user, i], i in relevant, i))[:k]
    gains = [1 / np.log2(r + 2) for r, i in enumerate(ordered) if i in relevant]
    ideal = sum(1 / np.log2(r + 2) for r in range(min(k, len(relevant))))
    return float(bool(gains)), sum(gains) / ideal


@dataclass
class Fixed:
    table: Floats

    def scores(self, users: Ints) -> Floats:
        return self.table[users]


@pytest.mark.parametrize("protocol", ["full", "ncf", "temporal"])
def test_evaluate_equals_sorting_lists_one_by_one(protocol: str) -> None:
    split = splits()[protocol]
    scores = np.random.default_rng(2).integers(0, 6, (len(split.users), 40)).astype(float)
    result = evaluate(Fixed(scores), split, top_k=5, batch=7)
    expected = [slow_hit_and_ndcg(split, scores, u, 5) for u in split.evaluated]
    np.testing.assert_allclose(result.per_user[["hr@5", "ndcg@5"]].to_numpy(), expected)
    assert result.per_user["user_id"].tolist() == split.users[split.evaluated].tolist()
    assert result.metrics["hr@5"] == pytest.approx(np.mean([hit for hit, _ in expected]))
    assert result.left_out is split.left_out


@pytest.mark.parametrize("batch", [1, 13, 1000])
def test_batches_do_not_change_anything(batch: int) -> None:
    split = splits()["full"]
    vectors = np.random.default_rng(3).normal(size=(40, 3))
    whole = evaluate(RandomScorer(40, 5), split, item_vectors=vectors)
    parts = evaluate(RandomScorer(40, 5), split, batch=batch, item_vectors=vectors)
    pd.testing.assert_frame_equal(whole.per_user, parts.per_user)
    assert parts.metrics == pytest.approx(whole.metrics)


def test_per_user_rows_say_who_the_user_is() -> None:
    split = splits()["temporal"]
    frame = evaluate(RandomScorer(40, 5), split).per_user
    users = split.evaluated
    np.testing.assert_array_equal(frame["activity"], split.histories.lengths[users])
    np.testing.assert_array_equal(frame["relevant"], split.relevant.lengths[users])
    counts = popularity_counts(split.histories)
    first = split.relevant.take(users[:1]).items
    assert frame["popularity"][0] == counts[first].mean()
    assert "diversity@10" not in metric_columns(frame)
    assert {"hr@10", "mrr@10", "novelty@10"} <= set(metric_columns(frame))


def test_popularity_covers_little_and_chance_much() -> None:
    split = splits()["full"]
    popular = evaluate(PopularityScorer(popularity_counts(split.histories)), split, top_k=3)
    chance = evaluate(RandomScorer(40, 0), split, top_k=3)
    assert popular.metrics["coverage@3"] < chance.metrics["coverage@3"]
    assert popular.metrics["gini@3"] > chance.metrics["gini@3"]
    assert popular.metrics["novelty@3"] < chance.metrics["novelty@3"]


def test_scores_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ArtifactError) as error:
        evaluate(RandomScorer(39, 0), splits()["full"])
    assert error.value.code == Code.ARTIFACT_INVALID


def test_joint_scorer_folds_in_training_events_only() -> None:
    split = splits()["full"]
    rng = np.random.default_rng(4)
    model = MatrixFactorisation.from_embeddings(rng.normal(size=(40, 3)), np.ones(40), FoldIn())
    users = np.array([5, 2, 9])
    scores = JointScorer(model, split.histories).scores(users)
    for row, user in zip(scores, users, strict=True):
        own = split.histories.take(np.array([user]))
        np.testing.assert_allclose(row, model.scores(model.fold_in(own))[0])


def test_group_scorer_asks_each_shop_for_its_own_users() -> None:
    groups = np.array([1, 0, 1, 0])
    tables = [np.arange(8.0).reshape(4, 2), -np.arange(8.0).reshape(4, 2)]
    scorer = GroupScorer([Fixed(t) for t in tables], groups, 2)
    users = np.array([3, 0, 2])
    expected = [tables[groups[u]][u] for u in users]
    np.testing.assert_array_equal(scorer.scores(users), expected)


def test_a_user_without_history_is_scored_by_popularity() -> None:
    histories = Histories(np.array([0, 0]), np.zeros(0, np.int64), np.zeros(0), 3)
    model = MatrixFactorisation.from_embeddings(np.eye(3), np.array([1.0, 3.0, 2.0]), FoldIn())
    scores = JointScorer(model, histories).scores(np.array([0]))
    assert np.argsort(-scores[0]).tolist() == [1, 2, 0]
