"""Folders that appear whole, or not at all, and never over something."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.enrolment.folders import new_folder, write_private
from common.errors import Code, ConfigError, DataError


def test_it_has_its_name_when_all_is_in_it(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "client"
    with new_folder(place) as part:
        write_private(part / "key", b"secret")
        assert not place.exists()
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "key").stat().st_mode & 0o777 == 0o600
    assert (place / "key").read_bytes() == b"secret"
    assert [path.name for path in place.parent.iterdir()] == ["client"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "client") as part:
        write_private(part / "key", b"secret")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_is_replaced(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "client"
    if kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine").touch()
    with pytest.raises(ConfigError) as caught, new_folder(place):
        pytest.fail("entered")
    assert caught.value.code is Code.ENROLL_EXISTS
    assert place.exists()


def test_not_even_what_came_meanwhile(tmp_path: Path) -> None:
    place = tmp_path / "client"
    with pytest.raises(DataError), new_folder(place) as part:
        write_private(part / "key", b"mine")
        place.mkdir()
        (place / "key").write_text("theirs")
    assert (place / "key").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["client"]


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    place = tmp_path / "client"
    place.mkdir(mode=0o755)
    with new_folder(place) as part:
        write_private(part / "key", b"secret")
    assert place.stat().st_mode & 0o777 == 0o700
