"""Reference figures of popularity on the split of He et al. 2017 (MovieLens-1M)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.arrays import Floats
from common.evaluation.baselines import (
    PopularityScorer,
    popularity_counts,
    row_normalised_counts,
)
from common.evaluation.evaluate import evaluate
from common.evaluation.protocols import Split, from_published, validation_split
from common.interactions.readers import read_events

ARCHIVE = Path(__file__).parents[3].parent / "shared" / "data" / "ml-1m-ncf.zip"


@pytest.fixture(scope="module")
def split() -> Split:
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not in shared/data; MovieLens may not be redistributed")
    file = read_events(ARCHIVE)
    assert file.split is not None
    return from_published(file.events, file.split, pd.Index(file.catalogue().item_ids))


def test_the_split_is_the_published_one(split: Split) -> None:
    assert (len(split.users), len(split.items)) == (6040, 3706)
    assert (len(split.train), len(split.heldout)) == (994_169, 6040)
    assert split.left_out.total == 0
    assert split.negatives is not None
    assert split.negatives.shape == (6040, 99)
    assert int((split.negatives == split.heldout_item[:, None]).sum()) == 156


def hit_rate_against_oneself(split: Split, popularity: Floats) -> float:
    """HR@10 where a published negative that is the user's own target ties with it."""
    rivals = popularity[split.negatives] >= popularity[split.heldout_item][:, None]
    return float((rivals.sum(axis=1) < 10).mean())


def test_counts_reach_their_reference(split: Split) -> None:
    popularity = popularity_counts(split.histories)
    got = evaluate(PopularityScorer(popularity), split).metrics
    assert got["hr@10"] == pytest.approx(0.4531, abs=0.00005)
    assert got["ndcg@10"] == pytest.approx(0.2541, abs=0.00005)
    assert hit_rate_against_oneself(split, popularity) == pytest.approx(0.4520, abs=0.00005)


def test_row_normalised_counts_reach_their_reference(split: Split) -> None:
    """The 0.465 of the algorithms page counts a user's own item against itself; papers do not."""
    popularity = row_normalised_counts(split.histories)
    got = evaluate(PopularityScorer(popularity), split).metrics
    assert got["hr@10"] == pytest.approx(0.4666, abs=0.00005)
    assert got["ndcg@10"] == pytest.approx(0.2613, abs=0.00005)
    assert hit_rate_against_oneself(split, popularity) == pytest.approx(0.4654, abs=0.00005)


def test_validation_holds_out_one_training_event_for_each_user(split: Split) -> None:
    inner = validation_split(split, np.random.default_rng(0))
    assert list(inner.users) == list(split.users)
    assert len(inner.heldout) == 6040
    assert not (inner.heldout_item == split.heldout_item).any()
    assert inner.negatives is not None
    assert (inner.negatives >= 0).all()
