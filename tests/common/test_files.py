"""Files and zips: every failure is a DataError that says where."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, DataError
from common.files import member_names, read_bytes, read_member, write_atomic, write_parquet


def _zip(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, Code.DATA_NOT_FOUND),
        (lambda path: path.mkdir(), Code.DATA_NOT_FOUND),
        (lambda path: path.write_bytes(b""), Code.DATA_EMPTY),
        (lambda path: path.write_bytes(b"\n \n"), Code.DATA_EMPTY),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, make: object, code: Code) -> None:
    path = tmp_path / "events.csv"
    make(path)  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        read_bytes(path)
    assert caught.value.code is code
    assert "events.csv" in str(caught.value)


def test_finds_the_one_member_by_its_ending() -> None:
    assert read_member(_zip(**{"d/u.data": b"x", "d/u.item": b"y"}), "u.item", "z") == b"y"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"a": b"x"}, Code.DATA_FORMAT),
        ({"a/u.data": b"x", "b/u.data": b"x"}, Code.DATA_FORMAT),
        ({"u.data": b""}, Code.DATA_EMPTY),
    ],
)
def test_a_zip_without_what_is_expected(members: dict[str, bytes], code: Code) -> None:
    with pytest.raises(DataError) as caught:
        read_member(_zip(**members), "u.data", "z")
    assert caught.value.code is code


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_zip_raises_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(_zip(**{"u.data": b"1\t2\t3\t4\n" * 50}))
    cut = data.draw(st.integers(0, len(whole)))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DataError):
        member_names(bytes(whole[:cut]), "z")
        read_member(bytes(whole[:cut]), "u.data", "z")


def test_writes_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_bytes() == b"two"
    with pytest.raises(DataError, match="cannot be written"):
        write_atomic(tmp_path / "no" / "a.json", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_has_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open
    monkeypatch.setattr("os.open", lambda *_: opened("/dev/full", os.O_WRONLY))
    with pytest.raises(DataError) as caught:
        write_atomic(tmp_path / "a.json", b"x" * 10)
    assert caught.value.code is Code.DISK_FULL
    assert not (tmp_path / "a.json").exists()


def test_a_table_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, table = tmp_path / "t.parquet", pd.DataFrame({"a": [1, 2]}, index=[5, 6])
    write_parquet(path, table)
    pd.testing.assert_frame_equal(pd.read_parquet(path), table.reset_index(drop=True))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError) as caught:
        write_parquet(path, pd.concat([table, table]))
    assert caught.value.code is Code.DISK_FULL
    assert len(pd.read_parquet(path)) == 2
    assert list(tmp_path.iterdir()) == [path]
