"""What every kind of model promises, whatever it is made of. A new kind is one line here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.arrays import Histories
from common.models.base import Model
from common.models.explain import left_out
from common.models.registry import KINDS, model_from, model_specs
from common.privacy.inbound import check_arrays
from tests.kinds import NAME, know_drift

ITEMS = 30
SMALL: dict[str, dict[str, Any]] = {
    "mf": {"popularity_mix": 0.2},
    "sequential": {"embedding_dim": 8, "length": 6, "blocks": 1, "heads": 2},
    "neural": {"embedding_dim": 8, "feature_width": 4, "head": 4},
    "transitions": {"context_dim": 5, "length": 4},
    NAME: {},
}
REFINED = {"embedding_dim": 8, "head": 4, "share_head": False, "personal_steps": 2}
VARIANTS = {
    **{name: (name, settings) for name, settings in SMALL.items()},
    "gru": ("sequential", {**SMALL["sequential"], "network": "gru"}),
    "neural, refined": ("neural", REFINED),
}


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Model:
    """One of the kind, with arrays of noise: nothing that is promised rests on training."""
    know_drift(monkeypatch)
    kind, settings = VARIANTS[request.param]
    draw = np.random.default_rng(7)
    table = {"item_embeddings": np.zeros((ITEMS, 5), np.float32)} if kind == "mf" else {}
    specs = model_specs(kind, settings, ITEMS, table)
    arrays = {
        name: (
            draw.uniform(1, 2, spec.shape) if spec.positive else draw.normal(0, 0.5, spec.shape)
        ).astype(np.float32)
        for name, spec in specs.items()
    }
    return model_from(kind, settings, arrays)


def some(seed: int = 0, users: int = 6) -> Histories:
    """Users with 0 to 9 items, in an order of their own; the second has none."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 10, users)
    lengths[1] = 0
    items = [np.sort(draw.choice(ITEMS, length, replace=False)) for length in lengths]
    order = [draw.permutation(length) for length in lengths]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    events = int(indptr[-1])
    return Histories(indptr, np.concatenate(items), np.ones(events), ITEMS, np.concatenate(order))


def test_kinds_of_this_version_are_all_here() -> None:
    assert set(KINDS) == set(SMALL) - {NAME}


def test_it_is_rebuilt_from_its_arrays_and_settings(model: Model) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in model.arrays().items()}
    settings = model.settings.model_dump(mode="json")
    check_arrays(arrays, model_specs(model.kind, settings, ITEMS, arrays))
    again = model_from(model.kind, settings, arrays)
    np.testing.assert_array_equal(again.fold_in(some()), model.fold_in(some()))
    assert (again.kind, again.n_items, again.dim) == (model.kind, ITEMS, model.dim)
    assert model.item_vectors.shape[0] == ITEMS
    assert model.item_vectors.dtype == np.float32
    assert model.popularity.shape == (ITEMS,)


def test_a_shoppers_vector_is_a_function_of_their_own_events(model: Model) -> None:
    """Alone, among others and among other others: what `joint` serving promises."""
    together = model.fold_in(some())
    assert together.shape == (6, model.dim)
    assert together.dtype == np.float64
    for user in range(6):
        one = some().take(np.array([user]))
        np.testing.assert_allclose(model.fold_in(one)[0], together[user], rtol=1e-4, atol=1e-6)
    others, mine = some(1), some()
    bounds = np.array([0, mine.lengths[0], *(mine.lengths[0] + np.cumsum(others.lengths))])
    first = slice(0, int(mine.lengths[0]))
    assert mine.order is not None
    assert others.order is not None
    mixed = Histories(
        bounds,
        np.concatenate([mine.items[first], others.items]),
        np.ones(int(bounds[-1])),
        ITEMS,
        np.concatenate([mine.order[first], others.order]),
    )
    np.testing.assert_allclose(model.fold_in(mixed)[0], together[0], rtol=1e-4, atol=1e-6)


def test_scores_are_finite_and_popularity_for_who_has_no_events(model: Model) -> None:
    vectors = model.fold_in(some())
    assert not vectors[1].any()
    assert vectors[0].any()
    scores = model.scores(vectors)
    assert scores.shape == (6, ITEMS)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores[1], model.popularity)
    for user in (0, 1, 5):
        alone = model.scores(vectors[user : user + 1])[0]
        np.testing.assert_allclose(alone, scores[user], rtol=1e-4, atol=1e-5)


def test_its_answers_can_be_taken_apart(model: Model) -> None:
    history = some().take(np.array([0]))
    amounts = left_out(model, history, 3)
    assert amounts.shape == history.items.shape
    assert np.isfinite(amounts).all()
