"""A client's folder as it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.store import POLICY_TOML, ClientSettings, ClientStore, forget_opened, read_policy
from common.arrays import Histories
from common.catalogue import Catalogue
from common.errors import Code, ConfigError, DataError, HushRecError, PolicyError
from tests.client.enroll.shops import said


def test_a_folder_is_read_whole(shop: Any) -> None:
    store = shop.store
    events = pd.read_parquet(shop.folder / "events.parquet")
    assert store.histories.n_users == len(store.user_ids) == events["user_id"].nunique()
    assert store.histories.n_items == len(store.catalogue) == 60
    assert len(store.histories.items) == len(events.drop_duplicates(["user_id", "item_id"]))
    assert set(store.histories.weights) == {1.0}
    assert store.heldout is not None
    assert store.heldout.shape == (len(store.user_ids),)


def test_the_order_of_events_outlives_restarts_seals_and_sorting(shop: Any, tmp_path: Path) -> None:
    path = shop.folder / "events.parquet"
    before = shop.store.histories
    first = pd.read_parquet(path).groupby(["user_id", "item_id"])["datetime"].min()
    for row, user in enumerate(shop.store.user_ids):
        items = [shop.store.catalogue.item_ids[item] for item in before.sequence_of(row)]
        assert first[user][items].is_monotonic_increasing
    assert not np.array_equal(before.sequences(), before.items)
    said("client", "seal", shop.folder, "--key-file", tmp_path / "key")
    sealed = _read_anew(shop)
    said("client", "unseal", shop.folder)
    pd.read_parquet(path).sample(frac=1.0, random_state=0).to_parquet(path, index=False)
    for after in (sealed, _read_anew(shop)):
        for name in ("indptr", "items", "order"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def _read_anew(shop: Any) -> Histories:
    forget_opened()
    found: Histories = shop.store.histories
    return found


def test_ratings_lie_beside_histories_that_do_not_depend_on_them(shop: Any) -> None:
    before, path = shop.store, shop.folder / "events.parquet"
    events = pd.read_parquet(path)
    events["weight"] = np.random.default_rng(0).uniform(1, 5, len(events))
    again = events.iloc[[0]].assign(weight=1.5, datetime=events["datetime"].max())
    unrated = again.assign(weight=np.nan, datetime=again["datetime"] + pd.Timedelta(days=1))
    pd.concat([events, again, unrated], ignore_index=True).to_parquet(path, index=False)
    forget_opened()
    store = shop.store
    for name in ("indptr", "items", "order", "weights"):
        np.testing.assert_array_equal(
            getattr(store.histories, name), getattr(before.histories, name)
        )
    rated, user = store.rated, store.user_ids.index(events["user_id"][0])
    mine = rated.take(np.array([user]))
    item = store.catalogue.item_ids.index(events["item_id"][0])
    assert mine.weights[mine.items == item].tolist() == [1.5]
    span = slice(*rated.indptr[user : user + 2])
    (since,) = store.rated_at[span][mine.items == item].tolist()
    assert since == again["datetime"].iloc[0].value // 1000
    assert np.isfinite(rated.weights).all()
    np.testing.assert_array_equal(rated.unweighted().weights, store.histories.weights)


def test_without_held_out_items_there_are_none(shop: Any) -> None:
    before = shop.store.snapshot
    (shop.folder / "heldout.parquet").unlink()
    assert shop.store.heldout is None
    assert shop.store.snapshot != before


def test_a_replaced_catalogue_is_read_again(shop: Any) -> None:
    assert len(shop.store.catalogue) == 60
    path = shop.folder / shop.store.settings.catalogue
    Catalogue((*shop.store.catalogue.item_ids, "new")).save(path)
    assert len(shop.store.catalogue) == 61


def test_a_replaced_log_is_read_again_though_its_time_is_the_same(shop: Any) -> None:
    path = shop.folder / "events.parquet"
    before, stat = shop.store, path.stat()
    pd.read_parquet(path).iloc[5:].to_parquet(path, index=False)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert shop.store.snapshot != before.snapshot
    assert shop.store is ClientStore.open(shop.folder)  # and not again while nothing changes


def test_a_replaced_policy_is_read_again(shop: Any) -> None:
    before = read_policy(shop.folder)
    assert read_policy(shop.folder) is before
    shop.allow(min_population=77)
    assert read_policy(shop.folder) == before.model_copy(update={"min_population": 77})


def test_a_policy_that_is_not_there_is_no_policy(shop: Any) -> None:
    (shop.folder / POLICY_TOML).unlink()
    with pytest.raises(PolicyError) as caught:
        read_policy(shop.folder)
    assert caught.value.code is Code.POLICY_MISSING
    assert str(shop.folder) in caught.value.where
    shop.store  # noqa: B018 - the data are another matter


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda folder: (folder / "events.parquet").unlink(), Code.DATA_NOT_FOUND),
        (lambda folder: (folder / "events.parquet").write_bytes(b"PAR1"), Code.DATA_FORMAT),
        (lambda folder: (folder / "heldout.parquet").write_bytes(b""), Code.DATA_FORMAT),
        (lambda folder: (folder / "client.toml").unlink(), Code.CONFIG_NOT_FOUND),
        (lambda folder: (folder / "client.toml").write_text("name ="), Code.CONFIG_INVALID),
    ],
)
def test_a_spoilt_folder_is_named(shop: Any, spoil: Any, code: Code) -> None:
    spoil(shop.folder)
    with pytest.raises(HushRecError) as caught:
        ClientStore.open(shop.folder)
    assert caught.value.code is code
    assert isinstance(caught.value, (ConfigError, DataError))
    assert str(shop.folder) in caught.value.where


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "a" * 65},
        {"dataset_id": "xyz"},
        {"population": 0},
        {"population": 10**13},
        {"noise_seed": -1},
        {"epsilon": 1.0},
    ],
)
def test_settings_that_cannot_be_meant(change: dict[str, Any]) -> None:
    values = {"name": "s", "dataset_id": "0" * 32, "population": 5, "catalogue": "c.json"}
    settings = ClientSettings.load(values)
    assert not settings.simulated
    assert not settings.no_privacy
    assert settings.noise_seed is None
    with pytest.raises(ConfigError):
        ClientSettings.load({**values, **change})
