"""What an operator asks for: as it is written, and never two things at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import Code, ConfigError
from server.training.request import REQUEST_FILE, Request

MUCH = {
    "solver": "dpsgd",
    "settings": {"batch": {"a.b": [1, 2.5, True]}, "name": 'q"uoted'},
    "rounds": 3,
    "dim": 8,
    "mode": "distributed",
    "epsilon": 2.5,
    "delta": 1e-6,
    "threshold": 4,
    "colluders": 1,
    "quorum": 2,
    "deadline_seconds": 12.5,
    "promote": False,
}


@pytest.mark.parametrize("values", [{}, MUCH], ids=["nothing", "much"])
def test_it_is_what_it_was_written_as(tmp_path: Path, values: dict[str, Any]) -> None:
    request = Request.load(values)
    assert Request.of_run(tmp_path) is None
    request.save(tmp_path)
    assert Request.of_run(tmp_path) == request


@pytest.mark.parametrize(
    ("values", "code", "where"),
    [
        ({"threshold": 3}, Code.PLAN_MODE, "threshold"),
        ({"colluders": 1}, Code.PLAN_MODE, "colluders"),
        ({"rounds": 3, "settings": {"rounds": 4}}, Code.CONFIG_INVALID, "rounds"),
        ({"dim": 3, "settings": {"embedding_dim": 4}}, Code.CONFIG_INVALID, "dim"),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, Any], code: Code, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Request.load(values).checked()
    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize(
    "line",
    ["epsilon = 0", "epsilon = inf", 'mode = "none"', "delta = 1.0", "quorum = 0", "attempts = 0"],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / REQUEST_FILE).write_text(line)
    with pytest.raises(ConfigError) as caught:
        Request.of_run(tmp_path)
    assert caught.value.code is Code.CONFIG_INVALID


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / REQUEST_FILE).write_text("epsilonn = 3")
    with pytest.raises(ConfigError) as caught:
        Request.of_run(tmp_path)
    assert caught.value.code is Code.CONFIG_UNKNOWN_KEY
