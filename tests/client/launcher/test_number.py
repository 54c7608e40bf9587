"""The number of a node is kept for its key, and its loss is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.launcher.number import Number

KEY, OTHER = b"a public key", b"another"


def test_a_number_is_kept_for_its_key(tmp_path: Path) -> None:
    Number(tmp_path / "number.json", KEY).keep(2**64 - 1)
    assert Number(tmp_path / "number.json", KEY).known() == 2**64 - 1
    assert Number(tmp_path / "number.json", OTHER).known() is None


@pytest.mark.parametrize("content", [b"", b"rubbish", b'{"node_id": 1}', b"\xff"])
def test_a_file_that_says_nothing_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "number.json").write_bytes(content)
    assert Number(tmp_path / "number.json", KEY).known() is None


def test_where_it_cannot_be_kept_the_node_goes_on(tmp_path: Path) -> None:
    number = Number(tmp_path / "no folder" / "number.json", KEY)
    number.keep(5)
    assert number.known() is None
    Number(None, KEY).keep(5)
