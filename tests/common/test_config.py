"""Files of settings: whatever is wrong with one is a ConfigError that says where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from common.config import Settings, read_json, read_toml
from common.errors import Code, ConfigError
from common.models.transitions import TransitionsSettings


@pytest.mark.parametrize("read", [read_json, read_toml])
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, Code.CONFIG_NOT_FOUND),
        (lambda path: path.mkdir(), Code.CONFIG_NOT_FOUND),
        (lambda path: path.symlink_to(path), Code.CONFIG_NOT_FOUND),
        (lambda path: path.write_bytes(b"\xff\xfe"), Code.CONFIG_INVALID),
        (lambda path: path.write_text("{"), Code.CONFIG_INVALID),
        (lambda path: path.write_text("a = " + "[" * 100_000), Code.CONFIG_INVALID),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path,
    read: Callable[[Path], dict[str, Any]],
    make: Callable[[Path], Any],
    code: Code,
) -> None:
    path = tmp_path / "settings"
    make(path)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.code is code
    assert caught.value.where == str(path)


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": {"b": 1}}')
    (tmp_path / "a.toml").write_text("[a]\nb = 1")
    assert read_json(tmp_path / "a.json") == read_toml(tmp_path / "a.toml") == {"a": {"b": 1}}


def test_json_that_is_no_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ConfigError):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("decays", "said"),
    [
        ([], "decays: of length 0, it has to be at least 1 (got [])."),
        ([0.5] * 5, f"decays: of length 5, it may be at most 4 (got {[0.5] * 5})."),
        ([2.0], "decays.0: Input should be less than or equal to 1 (got 2.0)."),
        ([0.5, 2.0], "decays.1: Input should be less than or equal to 1 (got 2.0)."),
    ],
)
def test_a_list_is_wrong_in_one_sentence(decays: list[float], said: str) -> None:
    """A value that is none is not said once more as a list that is too short."""
    with pytest.raises(ConfigError) as caught:
        TransitionsSettings.load({"decays": decays})
    assert caught.value.message == said


class Nested(Settings):
    rows: tuple[tuple[int, ...], ...] = Field(min_length=2)
    names: tuple[str, ...] = Field(min_length=1)


def test_lists_that_are_too_short_for_reasons_of_their_own_are_all_said() -> None:
    with pytest.raises(ConfigError) as caught:
        Nested.load({"rows": [["x"]], "names": []})
    assert caught.value.message.count("of length") == 1
    assert "rows.0.0" in caught.value.message
    assert "names: of length 0" in caught.value.message
