"""A folder is sealed and opened again without a loss, whatever happens in between."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client import data_files as data_files_module
from client.data_files import EVENTS, HELDOUT, NAMES, REJECTED, SEALED, DataFiles
from client.recorded_file import RECORDED
from client.sealed import Sealer, make_key
from client.sealing import seal_folder, unseal_folder
from client.store import CLIENT_TOML, ClientStore, data_files, sealer_of
from common.errors import Code, ConfigError, DataError
from tests.client import seal_crash_child
from tests.client.enroll.shops import refusal, said

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(shop: Any) -> Path:
    """A client with all three files."""
    found: Path = shop.folder
    (found / REJECTED).write_text("row,field,reason,value,raw\n1,user_id,missing,,x\n")
    return found


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "keys.key"


def test_a_sealed_folder_is_read_as_before(folder: Path, key: Path) -> None:
    before, plain = ClientStore.open(folder), (folder / EVENTS).read_bytes()
    toml = (folder / CLIENT_TOML).read_text()
    done = seal_folder(folder, key)
    assert (sorted(done.files), done.new_key) == (sorted(NAMES), True)
    store = ClientStore.open(folder)
    assert (store.snapshot, store.user_ids) == (before.snapshot, before.user_ids)
    assert toml in (folder / CLIENT_TOML).read_text()
    for name in NAMES:
        assert not (folder / name).exists()
        assert stat.S_IMODE((folder / f"{name}{SEALED}").stat().st_mode) == 0o600
    whole = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert plain[100:200] not in whole
    assert unseal_folder(folder).files
    assert (folder / EVENTS).read_bytes() == plain
    assert (folder / CLIENT_TOML).read_text() == toml
    assert not list(folder.glob(f"*{SEALED}"))
    assert sealer_of(folder) is None
    assert key.exists()


def test_a_job_does_not_notice(shop: Any, key: Path) -> None:
    assert shop.ask(shop.task(0)).code == "ok"
    seal_folder(shop.folder, key)
    assert shop.ask(shop.task(1)).code == "ok"


def test_without_its_key_nothing_is_read_though_it_was_read_before(shop: Any, key: Path) -> None:
    seal_folder(shop.folder, key)
    assert shop.store.user_ids
    away = key.rename(key.with_name("away"))
    _refused(shop.folder, Code.STORE_SEALED)
    assert shop.ask(shop.task(0)).code == Code.CLIENT_UNREADY
    key.write_text("00" * 32)
    _refused(shop.folder, Code.STORE_SEALED)
    away.replace(key)
    assert shop.ask(shop.task(0)).code == "ok"


def test_a_sealed_file_whose_key_nobody_names(folder: Path, key: Path) -> None:
    toml = (folder / CLIENT_TOML).read_text()
    seal_folder(folder, key)
    (folder / CLIENT_TOML).write_text(toml)
    assert "key_file" in _refused(folder, Code.STORE_SEALED).remedy


def test_a_sealed_file_that_was_changed_or_swapped(folder: Path, key: Path) -> None:
    seal_folder(folder, key)
    path = folder / f"{EVENTS}{SEALED}"
    sealed = path.read_bytes()
    path.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    _refused(folder, Code.DATA_FORMAT)
    shutil.copy(folder / f"{HELDOUT}{SEALED}", path)
    _refused(folder, Code.DATA_FORMAT)


def _refused(folder: Path, code: Code) -> DataError:
    with pytest.raises(DataError) as caught:
        ClientStore.open(folder)
    assert caught.value.code is code
    return caught.value


def test_the_key_is_never_in_the_folder(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    for inside in (folder / "key", link / "deeper" / "key", folder):
        with pytest.raises(ConfigError) as caught:
            seal_folder(folder, inside)
        assert caught.value.where == "--key-file"
    assert (folder / EVENTS).exists()
    assert data_files(folder).key_file is None


def test_one_key_at_a_time(folder: Path, key: Path) -> None:
    seal_folder(folder, key)
    again = seal_folder(folder, key)
    assert (again.files, again.new_key) == ((), False)
    with pytest.raises(ConfigError):
        seal_folder(folder, key.with_name("other"))
    assert not key.with_name("other").exists()
    unseal_folder(folder)
    with pytest.raises(ConfigError):
        unseal_folder(folder)
    key.write_text("no key")
    with pytest.raises(DataError) as caught:
        seal_folder(folder, key)
    assert caught.value.code is Code.STORE_SEALED
    assert (folder / EVENTS).exists()


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o666])
def test_a_key_that_others_may_read_is_not_taken(folder: Path, key: Path, mode: int) -> None:
    make_key(key)
    key.chmod(mode)
    toml = (folder / CLIENT_TOML).read_bytes()
    with pytest.raises(ConfigError) as caught:
        seal_folder(folder, key)
    assert (caught.value.where, "chmod" in caught.value.remedy) == (str(key), True)
    assert (folder / CLIENT_TOML).read_bytes() == toml
    assert (folder / EVENTS).exists()
    key.chmod(0o400)
    assert seal_folder(folder, key).files


@pytest.mark.parametrize("to_plain", [False, True])
def test_who_reads_while_a_file_changes_its_form_finds_it(
    tmp_path: Path, key: Path, monkeypatch: Any, to_plain: bool
) -> None:
    """Between the look for one form and the look for the other."""
    make_key(key)
    plain, sealed = DataFiles(tmp_path), DataFiles(tmp_path, key)
    before, after = (sealed, plain) if to_plain else (plain, sealed)
    real = data_files_module._bytes

    def changed_after(path: Path) -> bytes | None:
        found = real(path)
        monkeypatch.setattr(data_files_module, "_bytes", real)
        after.write(EVENTS, b"events")
        return found

    before.write(EVENTS, b"events")
    monkeypatch.setattr(data_files_module, "_bytes", changed_after)
    assert sealed.read(EVENTS) == b"events"
    assert sealed.read(EVENTS) == b"events"
    assert sealed.read(REJECTED) is None


def test_where_both_forms_are_the_sealed_one_counts(folder: Path, key: Path) -> None:
    seal_folder(folder, key)
    before = ClientStore.open(folder).snapshot
    (folder / EVENTS).write_bytes(b"of an older backup")
    assert ClientStore.open(folder).snapshot == before
    DataFiles(folder, key).write(EVENTS, b"new")
    assert not (folder / EVENTS).exists()
    assert Sealer.load(key).open((folder / f"{EVENTS}{SEALED}").read_bytes(), EVENTS) == b"new"


def test_frozen_copies_are_sealed_too(folder: Path, key: Path) -> None:
    copy = folder / "frozen" / "00ff"
    copy.mkdir(parents=True)
    shutil.copy(folder / EVENTS, copy / EVENTS)
    assert f"frozen/00ff/{EVENTS}" in seal_folder(folder, key).files
    assert [path.name for path in copy.iterdir()] == [f"{EVENTS}{SEALED}"]
    unseal_folder(folder)
    assert [path.name for path in copy.iterdir()] == [EVENTS]


def test_a_settings_file_that_cannot_be_edited_is_left(folder: Path, key: Path) -> None:
    path = folder / CLIENT_TOML
    text = path.read_text() + '"key_file" = "elsewhere"\n'
    path.write_text(text)
    with pytest.raises(ConfigError):
        unseal_folder(folder)
    assert path.read_text() == text


def test_a_death_at_any_moment_loses_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "children").mkdir()
    shutil.copy(folder.parents[1] / "catalogue.json", tmp_path)
    _record_and_die(folder)
    assert (folder / f"{RECORDED}-wal").stat().st_size
    child = Path(seal_crash_child.__file__)
    words = [sys.executable, str(child), str(folder), str(tmp_path / "children")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert 30 <= found["deaths"]["seal"] < seal_crash_child.MOST - 1
    assert 30 <= found["deaths"]["unseal"] < seal_crash_child.MOST - 1


def _record_and_die(folder: Path) -> None:
    """As a service that is killed leaves the file: with a journal."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from client.service.recorded import Event, Recorded\n"
        "of = lambda n: Event(f'order-{n:04}', f'shopper-{n % 7}', f'item-{n:04}', n)\n"
        "Recorded.open(Path(sys.argv[1])).write([of(n) for n in range(40)], 0)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, check=True)


def test_the_commands(folder: Path, key: Path) -> None:
    done = said("client", "seal", folder, "--key-file", key)
    assert done == {
        "files": sorted(NAMES, key=NAMES.index),
        "key_file": str(key),
        "new_key": True,
    }
    assert refusal("client", "seal", folder, "--key-file", folder / "k") == Code.CONFIG_INVALID
    assert said("client", "unseal", folder)["files"] == done["files"]
    assert refusal("client", "unseal", folder) == Code.CONFIG_INVALID
