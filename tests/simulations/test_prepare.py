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

from client.store import ClientStore
from common.catalogue import Catalogue
from common.errors import Code, DataError, HushRecError
from common.interactions.partition import Partition
from server.app import read_job
from simulations.dataset import load_dataset
from simulations.engine.folders import client_folders
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
