"""What is handed out to containers goes into folders that are there and empty; test_composed.py
has a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import Code, HushRecError
from simulations.deployment.demo import Demo
from simulations.deployment.handout import hand_out


def volumes(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir()
    return folder


def test_a_party_without_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(HushRecError) as caught:
        hand_out(volumes(tmp_path, "server", "north"), Demo(shops=2))
    assert caught.value.code is Code.CONFIG_NOT_FOUND
    assert caught.value.where == str(tmp_path / "south")


def test_nothing_is_put_beside_what_is_there(tmp_path: Path) -> None:
    (volumes(tmp_path, "server", "north") / "north" / "ledger.sqlite").write_text("")
    with pytest.raises(HushRecError) as caught:
        hand_out(tmp_path, Demo(shops=1))
    assert caught.value.code is Code.ENROLL_EXISTS
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ledger.sqlite"]


def test_what_was_handed_out_stays_as_it_is(tmp_path: Path) -> None:
    (volumes(tmp_path, "server", "north") / "server" / ".handed-out").write_text("")
    assert not hand_out(tmp_path, Demo(shops=1))
