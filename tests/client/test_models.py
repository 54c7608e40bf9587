"""What a client keeps of the models that it is sent: whole, the newest, never an older one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.models import HeldModel, ModelStore
from common.errors import ArtifactError, Code, DataError, HushRecError
from common.privacy.signing import SigningKey
from common.protocol import ModelMessage
from tests.sent_models import a_message, a_model

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("model_crash_child.py")
KEY, OTHER = SigningKey.create(), SigningKey.create()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def held(store: ModelStore) -> HeldModel:
    found = store.current()
    assert found is not None
    return found


def refused(store: ModelStore, code: Code, message: ModelMessage) -> None:
    before = contents(store.folder)
    with pytest.raises(HushRecError) as caught:
        store.take(message)
    assert caught.value.code is code
    assert contents(store.folder) == before


def test_nothing_was_taken_yet(store: ModelStore) -> None:
    assert store.current() is None
    assert store.stamp == ()


def test_what_was_taken_is_served(store: ModelStore) -> None:
    message = a_message(KEY, 4, seed=2)
    store.take(message)
    found = held(store)
    assert (found.serial, found.version) == (4, "0003-1a2b3c4d")
    assert found.manifest == message.manifest
    for name, array in a_model(seed=2).arrays().items():
        np.testing.assert_array_equal(found.model.arrays()[name], array)
    assert ModelStore(store.folder).current() is not None


def test_the_same_once_more_writes_nothing(store: ModelStore) -> None:
    message = a_message(KEY, 4)
    store.take(message)
    stamp = store.stamp
    store.take(message)
    assert store.stamp == stamp


@pytest.mark.parametrize("serial", [1, 3, 4])
def test_an_older_promotion_or_another_one_of_this_number_is_stale(
    store: ModelStore, serial: int
) -> None:
    store.take(a_message(KEY, 4, seed=1))
    refused(store, Code.MODEL_STALE, a_message(KEY, serial, seed=2))
    assert held(store).version == "0002-1a2b3c4d"


def test_a_roll_back_is_a_later_promotion_of_the_version_that_is_here(store: ModelStore) -> None:
    for serial, seed in ((1, 0), (2, 1), (3, 0)):
        store.take(a_message(KEY, serial, seed=seed))
    assert (held(store).serial, held(store).version) == (3, "0001-1a2b3c4d")
    assert len(list((store.folder / "models").iterdir())) == 3


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), max_size=8))
def test_of_one_server_the_number_only_grows(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, int]]
) -> None:
    store, newest = ModelStore(tmp_path_factory.mktemp("shop")), (0, 0)
    for serial, seed in sent:
        message = a_message(KEY, serial, n_items=3, seed=seed)
        if serial > newest[0] or (serial, seed) == newest:
            store.take(message)
            newest = (serial, seed)
        else:
            refused(store, Code.MODEL_STALE, message)
        assert held(store).serial == newest[0]
        assert held(store).version.startswith(f"{newest[1] + 1:04d}-")


def test_every_server_counts_for_itself(store: ModelStore) -> None:
    store.take(a_message(KEY, 9, seed=1))
    store.take(a_message(OTHER, 1, seed=2))
    assert held(store).version == "0003-1a2b3c4d"
    store.take(a_message(KEY, 9, seed=1))  # sent again: no reason to go back to it
    assert held(store).version == "0003-1a2b3c4d"
    refused(store, Code.MODEL_STALE, a_message(KEY, 8, seed=3))
    store.take(a_message(KEY, 10, seed=1))
    assert held(store).serial == 10


def test_the_newest_three_are_kept(store: ModelStore) -> None:
    for serial in range(1, 6):
        store.take(a_message(KEY, serial, seed=serial))
    folders = {path.name.partition(".")[0] for path in (store.folder / "models").glob("*.*/")}
    assert folders == {"0004-1a2b3c4d", "0005-1a2b3c4d", "0006-1a2b3c4d"}


def test_one_name_with_two_contents_is_two_folders(store: ModelStore) -> None:
    """A server that lost its list of versions counts anew."""
    store.take(a_message(KEY, 1, seed=1, version="0001-1a2b3c4d"))
    store.take(a_message(KEY, 2, seed=2, version="0001-1a2b3c4d"))
    expected = a_model(seed=2).item_embeddings
    np.testing.assert_array_equal(held(store).model.item_embeddings, expected)


def other_arrays(message: ModelMessage) -> ModelMessage:
    return replace(message, arrays=a_model(seed=9).arrays())


@pytest.mark.parametrize(
    ("spoil"),
    [
        other_arrays,
        lambda m: replace(m, arrays={}),
        lambda m: replace(m, arrays={**m.arrays, "user_vectors": np.ones((60, 4), np.float32)}),
        lambda m: replace(m, manifest=m.manifest.model_copy(update={"kind": "checkpoint"})),
        lambda m: replace(m, manifest=m.manifest.model_copy(update={"settings": {"x": 1}})),
        lambda m: replace(m, arrays={n: a.astype(np.float64) + 1e-9 for n, a in m.arrays.items()}),
    ],
    ids=["other arrays", "none", "personal", "checkpoint", "settings", "float64"],
)
def test_what_makes_no_model_is_not_taken(
    store: ModelStore, spoil: Callable[[ModelMessage], ModelMessage]
) -> None:
    store.take(a_message(KEY, 1))
    refused(store, Code.ARTIFACT_INVALID, spoil(a_message(KEY, 2)))


def damage(store: ModelStore, name: str, data: bytes) -> None:
    (path,) = (store.folder / "models").rglob(name)
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[ModelStore], Any]] = {
    "arrays": lambda s: damage(s, "arrays.safetensors", b"x"),
    "manifest": lambda s: damage(s, "manifest.json", b"{"),
    "pointer": lambda s: damage(s, "current.json", b"{"),
    "pointer of another form": lambda s: damage(s, "current.json", b'{"serial": 1}'),
    "gone": lambda s: next((s.folder / "models").glob("0*/manifest.json")).unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_is_not_served(store: ModelStore, name: str) -> None:
    store.take(a_message(KEY, 1))
    DAMAGE[name](store)
    with pytest.raises(ArtifactError, match="hushrec server deliver") as caught:
        store.current()
    assert caught.value.code is Code.ARTIFACT_INVALID
    assert str(store.folder) in caught.value.where


@pytest.mark.parametrize("name", ["arrays", "manifest", "gone"])
def test_the_same_once_more_repairs_it(store: ModelStore, name: str) -> None:
    store.take(a_message(KEY, 1))
    DAMAGE[name](store)
    store.take(a_message(KEY, 1))
    assert held(store).serial == 1
    assert len(list((store.folder / "models").iterdir())) == 2


def test_without_a_pointer_that_can_be_read_nothing_is_taken(store: ModelStore) -> None:
    """It says which numbers were taken: without it, an older one could come again."""
    store.take(a_message(KEY, 5))
    DAMAGE["pointer"](store)
    refused(store, Code.ARTIFACT_INVALID, a_message(KEY, 6))


def test_a_pointer_leads_nowhere_else(store: ModelStore) -> None:
    store.take(a_message(KEY, 1))
    path = store.folder / "models" / "current.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "folders": ["../../elsewhere"]}))
    with pytest.raises(ArtifactError):
        store.current()


def test_many_at_once_leave_the_newest(store: ModelStore) -> None:
    messages = [a_message(KEY, serial, seed=serial) for serial in range(1, 9)]

    def take(message: ModelMessage) -> int:
        with suppress(ArtifactError):  # a later one was faster
            store.take(message)
        return held(store).serial

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(take, messages * 2))
    assert held(store).serial == 8
    assert all(found >= message.serial for found, message in zip(seen, messages * 2, strict=True))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(DataError):
        ModelStore(tmp_path).take(a_message(KEY, 1))


def test_killed_before_any_call_to_the_disk(tmp_path: Path) -> None:
    """The version before or the one after, whole; sent again, all is as if nothing happened."""
    done = subprocess.run(
        [sys.executable, str(CHILD), str(tmp_path)],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(int(points) > 5 for points in done.stdout.split())
    assert len(done.stdout.split()) == 4


def test_a_service_loads_no_flower_to_read_a_model() -> None:
    script = "import sys, client.models; assert 'flwr' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
