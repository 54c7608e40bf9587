"""The synthetic marketplace: the same by seed, of the sizes asked for, and with its truth."""

import hashlib
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from common.arrays import Histories
from common.config import Settings
from common.errors import ConfigError
from simulations.marketplace import Marketplace, MarketplaceSettings, demo_settings

SMALL = {"users": 1_000, "items": 200, "categories": 8}


def market(**changes: object) -> Marketplace:
    return Marketplace(MarketplaceSettings.load({**SMALL, **changes}))


def digest(frame: pd.DataFrame) -> str:
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()


@pytest.fixture(scope="module")
def small() -> Marketplace:
    return market()


@pytest.fixture(scope="module")
def events(small: Marketplace) -> pd.DataFrame:
    return small.events()


def test_the_same_seed_gives_the_same_bytes(small: Marketplace, events: pd.DataFrame) -> None:
    again = market()
    assert digest(again.events()) == digest(events)
    assert digest(again.catalogue) == digest(small.catalogue)
    pd.testing.assert_frame_equal(again.events(), events)


def test_another_seed_gives_another_marketplace(events: pd.DataFrame) -> None:
    assert digest(market(seed=1).events()) != digest(events)


def test_the_order_of_asking_changes_nothing(events: pd.DataFrame) -> None:
    other = market()
    other.true_preference(np.arange(3))
    assert other.catalogue is other.catalogue
    pd.testing.assert_frame_equal(other.events(), events)


def test_blocks_of_users_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.marketplace._BLOCK_VALUES", 200 * 300)
    other = market()
    blocks = list(other.iter_events())
    assert len(blocks) == 4
    users = [set(block["user_id"]) for block in blocks]
    assert sum(map(len, users)) == len(set.union(*users)) == 1_000
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), other.events())


def test_columns_and_types(small: Marketplace, events: pd.DataFrame) -> None:
    assert list(events) == ["user_id", "item_id", "weight", "datetime", "shop", "region"]
    assert events["user_id"].dtype == events["item_id"].dtype == "str"
    assert str(events["datetime"].dtype) == "datetime64[us, UTC]"
    assert (events["weight"] == 1).all()
    assert not events.isna().any().any()
    catalogue = small.catalogue
    assert list(catalogue)[:3] == ["item_id", "title", "category"]
    assert list(catalogue["item_id"]) == [str(k) for k in range(200)]
    assert catalogue["category"].nunique() == 8
    assert set(events["item_id"]) <= set(catalogue["item_id"])


def test_titles_are_made_of_attributes(small: Marketplace) -> None:
    for _, item in small.catalogue.iterrows():
        for name in ("brand", "style", "colour", "material"):
            assert item[name] in item["title"].split()


def test_sizes_of_shops_and_activity(small: Marketplace, events: pd.DataFrame) -> None:
    assert len(set(events["user_id"])) == 1_000
    per_shop = events.groupby("shop", observed=True)["user_id"].nunique()
    assert list(per_shop) == [125] * 8
    per_user = events.groupby("user_id").size()
    assert 12 < per_user.mean() < 25
    assert per_user.quantile(0.9) > 2 * per_user.median() * 0.9
    assert not events.duplicated(["user_id", "item_id"]).any()


def test_shops_of_given_sizes() -> None:
    events = market(users=160, shop_sizes=(100, 10, 50), regions=2).events()
    by_shop = events.groupby("shop", observed=True)
    assert list(by_shop["user_id"].nunique()) == [100, 10, 50]
    assert list(by_shop["region"].first()) == list(by_shop["region"].last())
    assert list(by_shop["region"].first()) == ["region-1", "region-2", "region-1"]


def test_more_events_when_asked() -> None:
    few = len(market(events_per_user=8.0).events())
    many = len(market(events_per_user=40.0).events())
    assert many > 2.5 * few


def zipf_slope(**changes: object) -> float:
    counts = market(users=4_000, taste_strength=0.0, region_shift=0.0, **changes).events()
    sorted_counts = counts["item_id"].value_counts().to_numpy()[4:120]
    rank = np.arange(5, 5 + len(sorted_counts))
    return float(np.polyfit(np.log(rank), np.log(sorted_counts), 1)[0])


def test_popularity_follows_zipf_where_tastes_do_not_matter() -> None:
    # Dropping repeats flattens the head a little.
    assert zipf_slope(zipf_exponent=0.8, stay_in_category=0.0) == pytest.approx(-0.8, abs=0.15)
    assert abs(zipf_slope(zipf_exponent=0.0)) < 0.3


def month_spread(seasons: int) -> float:
    made = market(users=4_000, seasons=seasons, season_strength=1.0)
    events = made.events().merge(made.catalogue[["item_id", "category"]], on="item_id")
    late = events[events["datetime"] >= "2025-10-01"]  # by then everybody has joined
    early_share = late[late["datetime"] < "2025-11-01"]["category"].value_counts(normalize=True)
    late_share = late[late["datetime"] >= "2025-12-01"]["category"].value_counts(normalize=True)
    return float((early_share - late_share).abs().sum())


def test_categories_have_seasons() -> None:
    assert month_spread(4) > 2 * month_spread(0)


def test_regions_have_bestsellers_of_their_own() -> None:
    def agreement(shift: float) -> float:
        made = market(users=4_000, regions=2, region_shift=shift).events()
        counts = pd.crosstab(made["region"], made["item_id"])
        return float(np.corrcoef(counts.to_numpy())[0, 1])

    assert agreement(1.0) < agreement(0.0) - 0.1


def test_events_are_in_order_and_in_sessions(events: pd.DataFrame) -> None:
    gaps = events.groupby("user_id")["datetime"].diff().dropna().dt.total_seconds()
    assert (gaps > 0).all()
    assert (gaps < 1_800).mean() > 0.4
    assert (gaps > 86_400).mean() > 0.1
    assert events["datetime"].min() >= pd.Timestamp("2025-01-01", tz="UTC")
    assert events["datetime"].max() < pd.Timestamp("2026-01-02", tz="UTC")


def test_a_session_stays_in_a_category() -> None:
    def stays(probability: float) -> float:
        made = market(stay_in_category=probability)
        events = made.events().merge(made.catalogue[["item_id", "category"]], on="item_id")
        gap = events.groupby("user_id")["datetime"].diff().dt.total_seconds()
        same = (events["category"] == events["category"].shift()) & (gap < 1_800)
        return float(same.sum() / (gap < 1_800).sum())

    assert stays(0.9) > stays(0.0) + 0.2


def test_true_preferences_are_probabilities_and_fit_the_events(
    small: Marketplace, events: pd.DataFrame
) -> None:
    chances = small.true_preference(np.arange(1_000))
    assert chances.shape == (1_000, 200)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    users, items = (
        events["user_id"].astype(int).to_numpy(),
        events["item_id"].astype(int).to_numpy(),
    )
    chosen = chances[users, items].mean()
    popularity = np.bincount(items, minlength=200) / len(items)
    assert chosen > 2 * popularity[items].mean()
    picked = small.true_preference(np.array([7, 3]), np.array([5, 9]))
    np.testing.assert_allclose(picked, chances[[7, 3]][:, [5, 9]], rtol=1e-4)


def test_true_preferences_match_frequencies() -> None:
    plain = {"taste_strength": 0.0, "region_shift": 0.0, "seasons": 0}
    one = market(users=20_000, events_per_user=1.0, min_events=1, **plain)
    items = one.events()["item_id"].astype(int)
    frequency = np.bincount(items, minlength=200) / len(items)
    chances = one.true_preference(np.arange(1))[0]
    # Mean absolute error of 20,000 multinomial draws: sqrt(2 p / (pi n)) for each item.
    expected = np.sqrt(2 * chances / (np.pi * len(items))).sum()
    assert np.abs(frequency - chances).sum() < 1.3 * expected


def test_regret_is_zero_for_the_best_list_only(small: Marketplace) -> None:
    users = np.arange(20)
    chances = small.true_preference(users)
    best = np.argsort(-chances, axis=1)
    np.testing.assert_allclose(small.regret(users, best[:, :10]), 0.0, atol=1e-12)
    assert (small.regret(users, best[:, 10:20]) > 0).all()
    np.testing.assert_allclose(
        small.expected_best(users, 10), np.sort(chances, axis=1)[:, -10:].sum(axis=1)
    )


def test_seen_items_are_not_part_of_the_best(small: Marketplace) -> None:
    users = np.arange(2)
    best = np.argsort(-small.true_preference(users), axis=1)
    items = np.sort(best[:, :3], axis=1).ravel()
    seen = Histories(np.array([0, 3, 6]), items, np.ones(6), 200)
    np.testing.assert_allclose(small.regret(users, best[:, 3:8], seen), 0.0, atol=1e-12)


def test_fake_accounts_only_when_asked(small: Marketplace, events: pd.DataFrame) -> None:
    assert small.fake_targets == []
    attacked = market(fake_accounts=30, fake_targets=2)
    both = attacked.events()
    real, fake = both[~both["fake"]], both[both["fake"]]
    pd.testing.assert_frame_equal(real.drop(columns="fake"), events)
    assert set(fake["user_id"]) == {str(k) for k in range(1_000, 1_030)}
    assert len(attacked.fake_targets) == 2
    for target in attacked.fake_targets:
        assert (fake["item_id"] == target).sum() == 30
        assert (real["item_id"] == target).sum() < 30
    assert not fake.duplicated(["user_id", "item_id"]).any()
    assert fake.groupby("user_id")["datetime"].is_monotonic_increasing.all()


def test_a_hundred_thousand_users_in_bounded_memory() -> None:
    made = market(users=100_000, items=1_000, categories=20, events_per_user=10.0)
    tracemalloc.start()
    events = sum(len(block) for block in made.iter_events())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 600_000 < events < 1_000_000
    assert peak < 400 * 2**20


def test_very_short_times_and_heavy_users_stay_in_order() -> None:
    events = market(users=50, items=500, days=7, events_per_user=200.0).events()
    gaps = events.groupby("user_id")["datetime"].diff().dropna()
    assert (gaps > pd.Timedelta(0)).all()


def test_a_marketplace_of_one_user() -> None:
    events = market(users=1, items=2, categories=1, shops=1, regions=1, seasons=0).events()
    assert set(events["user_id"]) == {"0"}


def test_the_demo_is_two_big_shops_and_thirty_small_ones() -> None:
    settings = demo_settings(seed=3)
    assert settings.sizes == (2_000,) * 2 + (60,) * 30
    assert (settings.users, settings.seed) == (5_800, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"shop_sizes": (10, 20)},
        {"users": 10, "shop_sizes": (10, 0)},
        {"shops": 2_000},
        {"categories": 150},
        {"fake_targets": 300},
        {"days": 1},
        {"taste": 1},
    ],
)
def test_settings_that_cannot_be_meant(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        market(**changes)


def test_settings_survive_a_round_trip() -> None:
    settings = demo_settings()
    assert isinstance(settings, Settings)
    assert MarketplaceSettings.model_validate_json(settings.model_dump_json()) == settings
