"""Canaries live in shadow data only, and the coins change nothing that is public."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.store import CLIENT_TOML, ClientStore
from common.errors import Code, ConfigError
from simulations.attacks.canaries import Canaries, check_shadow
from simulations.attacks.shadow import ShadowSettings
from simulations.engine.folders import client_folders
from simulations.prepare import prepare
from simulations.run_folder import RunFolder

SETTINGS = ShadowSettings(users=40, items=30, solver="popularity", seed=5)


@pytest.fixture
def shadow(tmp_path: Path) -> tuple[Canaries, Path]:
    """Thirty canaries and the folder of the one client."""
    canaries, dataset = Canaries.beside(SETTINGS.dataset(), 30)
    folder = RunFolder.create(tmp_path / "run", force=False)
    prepare(folder, SETTINGS.scenario, dataset, SETTINGS.job(dataset))
    (client,) = client_folders(folder.path)
    return canaries, client


def test_planted_users_hold_one_item_that_nobody_else_holds(
    shadow: tuple[Canaries, Path],
) -> None:
    canaries, client = shadow
    before = ClientStore.open(client)
    included = canaries.coins(np.random.default_rng(1))
    canaries.plant(client, included)
    store = ClientStore.open(client)
    assert store.histories.n_users == before.histories.n_users + included.sum()
    assert store.settings.population == before.settings.population
    holders = np.bincount(store.histories.items, minlength=canaries.n_items)
    np.testing.assert_array_equal(holders[canaries.items], included.astype(int))
    for number in np.flatnonzero(included):
        user = store.user_ids.index(canaries.item_ids[number])
        one = store.histories.take(np.array([user]))
        assert one.items.tolist() == [canaries.items[number]]
    np.testing.assert_array_equal(canaries.histories.items, canaries.items)
    assert store.snapshot != before.snapshot


def test_catalogue_and_job_are_the_same_whatever_the_coins_say() -> None:
    """The plan, δ and the declared population are fixed before a coin falls."""
    _, dataset = Canaries.beside(SETTINGS.dataset(), 30)
    job = SETTINGS.job(dataset)
    assert (job.population, job.n_items, job.clients) == (40, 60, 1)
    assert job.catalogue_derived is False


def test_a_deployed_client_is_never_touched(shadow: tuple[Canaries, Path]) -> None:
    canaries, client = shadow
    toml = (client / CLIENT_TOML).read_text()
    events = (client / "events.parquet").read_bytes()
    for said in ("simulated = false", ""):
        (client / CLIENT_TOML).write_text(toml.replace("simulated = true", said))
        for call in (
            lambda: check_shadow(client),
            lambda: canaries.plant(client, np.ones(30, dtype=np.bool_)),
        ):
            refused(call, "deployed")
    assert (client / "events.parquet").read_bytes() == events


def test_canaries_are_planted_once(shadow: tuple[Canaries, Path]) -> None:
    canaries, client = shadow
    everybody = np.ones(30, dtype=np.bool_)
    canaries.plant(client, everybody)
    refused(lambda: canaries.plant(client, everybody), "already holds")
    assert len(pd.read_parquet(client / "events.parquet")["user_id"].unique()) == 70


def test_canaries_are_not_planted_beside_the_users_of_a_file() -> None:
    dataset = replace(SETTINGS.dataset(), name="shop.csv")
    refused(lambda: Canaries.beside(dataset, 30), "shop.csv")


def test_coins_are_fair_and_come_from_the_generator() -> None:
    canaries, _ = Canaries.beside(SETTINGS.dataset(), 2000)
    first = canaries.coins(np.random.default_rng(1))
    np.testing.assert_array_equal(first, canaries.coins(np.random.default_rng(1)))
    # 6 standard deviations of a fair count
    assert abs(int(first.sum()) - 1000) < 6 * np.sqrt(2000) / 2
    assert (first != canaries.coins(np.random.default_rng(2))).any()


def refused(call: Callable[[], Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        call()
    assert caught.value.code is Code.CONFIG_INVALID
