"""Laying out a run: everybody gets their own, and nothing is left of what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.store import ClientStore, read_policy
from common.catalogue import Catalogue
from common.errors import Code, DataError, HushRecError
from common.interactions.partition import Partition
from common.privacy.events import event_of
from common.privacy.filters import Cap, best_order, total_cost
from common.privacy.policy import Period, Policy
from common.schedule import schedule_of
from server.app import read_job
from server.keys import server_key
from simulations.dataset import load_dataset
from simulations.engine.folders import client_folders
from simulations.policies import policy_for, policy_toml
from simulations.prepare import client_names, declared_population, make_job, prepare
from simulations.run_folder import RunFolder


@given(st.integers(1, 10**9))
def test_the_declared_population_is_round_and_not_above_the_count(users: int) -> None:
    declared = declared_population(users)
    assert 0.9 * users < declared <= users
    assert len(str(declared).rstrip("0")) <= 2
    assert declared_population(declared) == declared


def test_every_user_is_at_one_client_and_no_event_is_lost(
    run_folder: RunFolder, small_scenario: Any
) -> None:
    dataset = load_dataset(small_scenario())
    stores = [ClientStore.open(folder) for folder in client_folders(run_folder.path)]
    users = [user for store in stores for user in store.user_ids]
    assert sorted(users) == sorted(dataset.partition.user_ids)
    events = pd.concat([pd.read_parquet(s.folder / "events.parquet") for s in stores])
    assert len(events) == len(dataset.split.train)
    assert [s.settings.population for s in stores] == [48, 40, 32]
    assert len({s.settings.dataset_id for s in stores}) == 3
    assert {s.catalogue.version for s in stores} == {dataset.catalogue.version}
    assert Catalogue.load(run_folder.path / "catalogue.json") == dataset.catalogue


def test_clients_have_the_order_that_the_lab_has(
    run_folder: RunFolder, small_scenario: Any
) -> None:
    split = load_dataset(small_scenario()).split
    for folder in client_folders(run_folder.path):
        store = ClientStore.open(folder)
        users = split.users.get_indexer(pd.Index(store.user_ids))
        expected = split.histories.take(users.astype(np.int64))
        np.testing.assert_array_equal(store.histories.items, expected.items)
        assert store.histories.order is not None
        np.testing.assert_array_equal(store.histories.order, expected.order)


def test_held_out_items_are_not_in_training(run_folder: RunFolder) -> None:
    for folder in client_folders(run_folder.path):
        store = ClientStore.open(folder)
        assert store.heldout is not None
        for user, item in enumerate(store.heldout):
            start, stop = store.histories.indptr[user : user + 2]
            assert item not in store.histories.items[start:stop]


def test_the_job_states_declared_constants(run_folder: RunFolder) -> None:
    job = read_job(run_folder.path)
    assert (job.clients, job.population, job.n_items) == (3, 120, 60)
    assert job.signal == pytest.approx(np.hypot(np.hypot(48, 40), 32))
    assert job.delta == pytest.approx(120**-1.1)
    assert job.settings == {"rounds": 2, "embedding_dim": 4}


def test_the_job_names_the_server_that_was_made_with_the_run(run_folder: RunFolder) -> None:
    assert read_job(run_folder.path).server == server_key(run_folder.path).public


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"epsilon": 0.5, "rounds": 5},
        {"solver": "popularity", "rounds": None, "dim": None},
        {"solver": "dpsgd", "rounds": 1, "settings": {"sampling_rate": 0.2, "local_steps": 3}},
        {"evaluation_share": 0.2},
    ],
)
def test_a_simulated_client_allows_its_job_with_one_repeat_and_nothing_beside_it(
    prepare_run: Callable[..., RunFolder], overrides: dict[str, Any]
) -> None:
    run = prepare_run(**overrides)
    job = read_job(run.path)
    policy, *others = [read_policy(folder) for folder in client_folders(run.path)]
    assert all(other == policy for other in others)
    assert policy == policy_for(job)
    assert policy.servers == (job.server,)
    assert (policy.solvers, policy.modes, policy.unit) == ((job.solver,), ("local",), "user")
    assert policy.lifetime.delta == job.delta
    assert policy.renyi_order == job.renyi_order
    events = [event_of(release) for release in schedule_of(job).plan.releases]
    chosen = policy.filter()
    dearest = max(events, key=lambda event: chosen.cost(event).divergence)
    assert chosen.admits(total_cost(chosen, [*events, dearest]))
    found = chosen.epsilon(total_cost(chosen, [*events, dearest]))
    assert 0 <= policy.lifetime.epsilon - found <= 0.0101
    assert not chosen.admits(total_cost(chosen, [*events, dearest, dearest]))


def test_only_a_job_that_samples_is_aimed_at_a_renyi_filter(
    prepare_run: Callable[..., RunFolder],
) -> None:
    def order(name: str, **overrides: Any) -> int | None:
        return read_job(prepare_run(name, **overrides).path).renyi_order

    settings = {"sampling_rate": 0.2, "local_steps": 3}
    assert order("plain") is None
    assert order("all", solver="dpsgd", rounds=1) is None
    sampled = order("some", solver="dpsgd", rounds=1, settings=settings, epsilon=2.0)
    assert sampled == best_order(Cap(epsilon=2.0, delta=120**-1.1))
    bare = {"solver": "dpsgd", "mode": "none", "no_privacy": True, "fixed_noise": False}
    assert order("bare", rounds=1, settings=settings, **bare) is None


def test_the_scenario_may_name_the_lifetime(prepare_run: Callable[..., RunFolder]) -> None:
    run = prepare_run(lifetime_epsilon=20.0)
    policy = read_policy(client_folders(run.path)[0])
    assert policy.lifetime == Cap(epsilon=20.0, delta=120**-1.1)


def test_a_lifetime_that_no_filter_can_hold_is_found_before_anything_is_written(
    tmp_path: Path, small_scenario: Any
) -> None:
    scenario = small_scenario(lifetime_epsilon=300.0)
    with pytest.raises(HushRecError) as caught:
        make_job(scenario, load_dataset(scenario))
    assert caught.value.code is Code.CONFIG_INVALID
    assert list(tmp_path.iterdir()) == []


def test_a_policy_survives_its_file(tmp_path: Path) -> None:
    policy = Policy(
        lifetime=Cap(epsilon=2.5, delta=1e-7),
        periods=(Period(days=7, epsilon=1.0), Period(days=30, epsilon=2.0)),
        renyi_order=50,
        modes=("local", "none"),
        solvers=("subspace",),
        servers=("ab" * 32,),
        max_sampling_rate=0.25,
        min_population=500,
        roster={"shop.1": "ab" * 32, "Côte-d-Ivoire": "cd" * 32, "𝐀_2": "ef" * 32},
        colluders=2,
        max_message_bytes=10_000,
        serving="shop",
    )
    path = tmp_path / "policy.toml"
    path.write_text(policy_toml(policy))
    assert Policy.load_toml(path) == policy


def test_only_what_was_asked_for_is_marked(
    run_folder: RunFolder, prepare_run: Callable[..., RunFolder]
) -> None:
    def settings(run: RunFolder) -> Any:
        return ClientStore.open(client_folders(run.path)[0]).settings

    private = settings(prepare_run("private", fixed_noise=False))
    bare = settings(prepare_run("bare", fixed_noise=False, mode="none", no_privacy=True))
    fixed = settings(run_folder)
    assert private.simulated
    assert bare.simulated
    assert fixed.simulated
    assert (private.noise_seed, bare.noise_seed, fixed.noise_seed) == (None, None, 7)
    assert (private.no_privacy, bare.no_privacy, fixed.no_privacy) == (False, True, False)
    assert read_policy(client_folders(run_folder.path.parent / "bare")[0]).modes == ("none",)


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"epsilon": 0.0}, Code.PLAN_EPSILON),
        ({"epsilon": -1.0}, Code.PLAN_EPSILON),
        ({"delta": 1 / 120}, Code.PLAN_DELTA),
        ({"delta": 0.5}, Code.PLAN_DELTA),
        ({"unit": "interaction"}, Code.PLAN_UNIT),
        ({"solver": "ials"}, None),
        ({"solver": "magic"}, Code.CONFIG_INVALID),
        ({"settings": {"magic": 1}}, Code.CONFIG_UNKNOWN_KEY),
        ({"clients": 121, "partition": "hash"}, Code.DATA_PARTITION),
    ],
)
def test_nothing_is_left_of_a_plan_that_cannot_be(
    tmp_path: Path, small_scenario: Any, overrides: dict[str, Any], code: Code | None
) -> None:
    scenario = small_scenario(**overrides)
    with pytest.raises(HushRecError) as caught:
        make_job(scenario, load_dataset(scenario))
    assert code is None or caught.value.code is code
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_layout_that_fails_half_way(
    tmp_path: Path, small_scenario: Any, monkeypatch: Any
) -> None:
    scenario = small_scenario()
    dataset = load_dataset(scenario)
    job = make_job(scenario, dataset)
    folder = RunFolder.create(tmp_path / "run", force=False)
    written: list[Path] = []

    def full(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 5:
            raise DataError(Code.DISK_FULL, "full", where=str(path))
        path.write_bytes(data)

    monkeypatch.setattr("simulations.prepare.write_atomic", full)
    monkeypatch.setattr("common.files.write_atomic", full)
    with pytest.raises(DataError):
        prepare(folder, scenario, dataset, job)
    assert len(written) == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Côte d'Ivoire", "EIRE"), ["Côte-d-Ivoire", "EIRE"]),
        (("..", "."), None),
        (("../../etc", "/root"), ["-..-etc", "-root"]),
        (("a b", "a/b"), None),
        (("x" * 80, "y"), ["x" * 64, "y"]),
    ],
)
def test_a_client_cannot_be_called_out_of_its_folder(
    small_scenario: Any, names: tuple[str, str], expected: list[str] | None
) -> None:
    dataset = load_dataset(small_scenario())
    users = dataset.partition.user_ids
    partition = Partition(names, users, np.arange(len(users)) % 2)
    changed = replace(dataset, partition=partition)
    if expected is None:
        with pytest.raises(HushRecError) as caught:
            client_names(changed)
        assert caught.value.code is Code.CONFIG_INVALID
        return
    found = list(client_names(changed).values())
    assert found == expected
    assert all(Path(name).name == name and name not in {"", ".", ".."} for name in found)


def test_a_fingerprint_tells_which_part_of_the_data_changed(small_scenario: Any) -> None:
    dataset = load_dataset(small_scenario(protocol="ncf"))
    split, partition = dataset.split, dataset.partition
    first = dataset.fingerprint()
    assert load_dataset(small_scenario(protocol="ncf")).fingerprint() == first
    moved = Partition(partition.names, partition.user_ids, np.roll(partition.client, 1))
    assert split.negatives is not None
    changes = {
        "train": replace(dataset, split=replace(split, train=split.train.iloc[1:])),
        "heldout": replace(dataset, split=replace(split, heldout=split.heldout.iloc[::-1])),
        "negatives": replace(dataset, split=replace(split, negatives=split.negatives[:, 1:])),
        "partition": replace(dataset, partition=moved),
    }
    for part, changed in changes.items():
        found = changed.fingerprint()
        assert [name for name in first if found[name] != first[name]] == [part]
