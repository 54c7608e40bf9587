"""What a shop makes of a shared model: helps when it is good, never hurts when it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.arrays import Floats, Histories
from common.models.mf import FoldIn, MatrixFactorisation
from common.models.refit import RefitSettings, ShopModel, refit, refit_beside_alone, train_alone
from tests.kinds import Drift

N_ITEMS, DIM = 120, 4
SETTINGS = RefitSettings(embedding_dim=8)


def draw(
    rng: np.random.Generator, users: int, items: Floats, events: int
) -> tuple[Histories, np.ndarray]:
    """Users with tastes; each has `events` training events and one more to test."""
    scores = rng.normal(size=(users, items.shape[1])) @ items.T + rng.gumbel(
        size=(users, len(items))
    )
    chosen = np.argsort(-scores, axis=1)[:, : events + 1]
    chosen = rng.permuted(chosen, axis=1)
    train = np.sort(chosen[:, :events], axis=1)
    indptr = np.arange(users + 1, dtype=np.int64) * events
    return Histories(indptr, train.ravel(), np.ones(users * events), len(items)), chosen[:, -1]


def quality(
    model: ShopModel | MatrixFactorisation, histories: Histories, target: np.ndarray
) -> float:
    """Mean share of unseen items that the test item beats."""
    scores = model.scores(model.fold_in(histories))
    mine = scores[np.arange(len(target)), target]
    scores[histories.user_of_event, histories.items] = np.inf
    return float((scores < mine[:, None]).sum(axis=1).mean() / (N_ITEMS - histories.lengths[0] - 1))


def shared_model(items: Floats) -> MatrixFactorisation:
    return MatrixFactorisation.from_embeddings(
        items, np.ones(len(items)), FoldIn(regularisation=1.0)
    )


@pytest.fixture
def items() -> Floats:
    return np.random.default_rng(3).normal(size=(N_ITEMS, DIM))


def test_small_shop_takes_a_good_shared_model(items: Floats) -> None:
    rng = np.random.default_rng(4)
    histories, target = draw(rng, 40, items, 8)
    alone = train_alone(histories, SETTINGS, np.random.default_rng(0))
    shop = refit(shared_model(items), histories, SETTINGS, np.random.default_rng(0))
    assert shop.choice.name != "alone"
    assert quality(shop, histories, target) > quality(alone, histories, target) + 0.05


def test_useless_shared_model_does_not_hurt(items: Floats) -> None:
    rng = np.random.default_rng(5)
    histories, target = draw(rng, 400, items, 12)
    noise = shared_model(rng.normal(size=(N_ITEMS, DIM)))
    alone = train_alone(histories, SETTINGS, np.random.default_rng(0))
    shop = refit(noise, histories, SETTINGS, np.random.default_rng(0))
    assert quality(noise, histories, target) < 0.6
    assert quality(shop, histories, target) > quality(alone, histories, target) - 0.01


def of_another_kind(table: Floats) -> Drift:
    """It cannot be stacked, but it says where items lie."""
    popularity = np.ones(len(table), np.float32)
    turn = np.eye(DIM, dtype=np.float32)
    settings = Drift.Settings(decay=0.95, width=DIM)
    return Drift(table.astype(np.float32), turn, popularity, settings)


def test_another_kind_races_as_it_is_against_the_shop_alone(items: Floats) -> None:
    rng = np.random.default_rng(5)
    few, _ = draw(rng, 40, items, 8)
    good = of_another_kind(items)
    chosen, alone = refit_beside_alone(good, few, SETTINGS, np.random.default_rng(0))
    assert chosen.choice.name == "shared"
    assert chosen.model is good
    assert {label.split(" ")[0] for label in chosen.choice.validation} == {"alone", "shared"}
    assert alone.choice.name == "alone"
    many, _ = draw(rng, 400, items, 12)
    noise = of_another_kind(rng.normal(size=(N_ITEMS, DIM)))
    assert refit(noise, many, SETTINGS, np.random.default_rng(0)).choice.name == "alone"


def test_stack_is_better_than_either_part() -> None:
    rng = np.random.default_rng(6)
    items = rng.normal(size=(N_ITEMS, DIM))
    histories, target = draw(rng, 300, items, 10)
    half = shared_model(items[:, : DIM // 2])
    alone = train_alone(histories, SETTINGS, np.random.default_rng(0))
    shop = refit(half, histories, SETTINGS, np.random.default_rng(0))
    assert shop.choice.own_weight is not None
    best = max(quality(half, histories, target), quality(alone, histories, target))
    assert quality(shop, histories, target) >= best - 0.005


def test_choice_says_what_was_compared(items: Floats) -> None:
    histories, _ = draw(np.random.default_rng(7), 60, items, 8)
    choice = refit(shared_model(items), histories, SETTINGS, np.random.default_rng(1)).choice
    kinds = {label.split()[0] for label in choice.validation}
    assert {"alone", "shared", "stacked"} <= kinds
    assert choice.name in kinds
    assert choice.hidden_users == 60
    assert all(0 <= value <= 1 for value in choice.validation.values())


def test_same_generator_same_model(items: Floats) -> None:
    histories, _ = draw(np.random.default_rng(7), 60, items, 8)
    one, two = (
        refit(shared_model(items), histories, SETTINGS, np.random.default_rng(1)) for _ in range(2)
    )
    assert one.choice == two.choice
    np.testing.assert_array_equal(one.model.item_embeddings, two.model.item_embeddings)


@pytest.mark.parametrize("users", [20, 300])
def test_both_at_once_are_what_each_is(items: Floats, users: int) -> None:
    histories, _ = draw(np.random.default_rng(7), users, items, 8)
    shared = shared_model(items[:, :3])
    shop, alone = refit_beside_alone(shared, histories, SETTINGS, np.random.default_rng(1))
    expected = refit(shared, histories, SETTINGS, np.random.default_rng(1))
    assert shop.choice == expected.choice
    np.testing.assert_array_equal(shop.model.item_embeddings, expected.model.item_embeddings)
    expected = train_alone(histories, SETTINGS, np.random.default_rng(1))
    assert alone.choice == expected.choice
    np.testing.assert_array_equal(alone.model.item_embeddings, expected.model.item_embeddings)


def test_shared_model_stays_as_it_is(items: Floats) -> None:
    histories, _ = draw(np.random.default_rng(7), 60, items, 8)
    shared = shared_model(items)
    before = {name: array.copy() for name, array in shared.arrays().items()}
    refit(shared, histories, SETTINGS, np.random.default_rng(1))
    for name, array in shared.arrays().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("events", [0, 1])
def test_shop_without_enough_events_still_gets_a_model(items: Floats, events: int) -> None:
    indptr = np.arange(4, dtype=np.int64) * events
    own = np.arange(3 * events, dtype=np.int64)
    histories = Histories(indptr, own, np.ones(len(own)), N_ITEMS)
    shop = refit(shared_model(items), histories, SETTINGS, np.random.default_rng(0))
    assert shop.choice.name == "shared"
    assert np.isfinite(shop.scores(shop.fold_in(histories))).all()
    alone = train_alone(histories, SETTINGS, np.random.default_rng(0))
    assert np.isfinite(alone.scores(alone.fold_in(histories))).all()


def test_noise_variance_and_bias_travel_with_the_stack(items: Floats) -> None:
    histories, _ = draw(np.random.default_rng(8), 60, items, 8)
    shared = MatrixFactorisation.from_arrays(
        {**shared_model(items).arrays(), "noise_variance": np.full(N_ITEMS, 0.1)},
        FoldIn(regularisation=1.0),
    )
    shop = refit(shared, histories, SETTINGS, np.random.default_rng(1))
    assert shop.choice.name != "alone"
    assert shop.model.noise_variance is not None


def test_a_shop_that_made_the_shared_model_asks_more_of_it(items: Floats) -> None:
    """The shared model has seen the hidden events of whoever it was trained on."""
    rng = np.random.default_rng(4)
    histories, _ = draw(rng, 40, items, 8)
    own = SETTINGS.model_copy(update={"own_share": 1.0, "optimism": 1.0})
    shop = refit(shared_model(items), histories, own, np.random.default_rng(0))
    assert shop.choice.name == "alone"


def test_ratings_change_nothing_but_what_a_model_that_reads_them_is_worth(items: Floats) -> None:
    histories, _ = draw(np.random.default_rng(6), 40, items, 8)
    weights = np.random.default_rng(7).uniform(1, 5, len(histories.items))
    weights[::4] = np.nan
    shared = shared_model(items)
    plain, rated = (
        refit_beside_alone(shared, of, SETTINGS, np.random.default_rng(0))
        for of in (histories, replace(histories, weights=weights))
    )
    for one, other in zip(plain, rated, strict=True):
        assert one.choice == other.choice
        assert not other.reads_weights
        for name, array in one.model.arrays().items():
            np.testing.assert_array_equal(array, other.model.arrays()[name])
