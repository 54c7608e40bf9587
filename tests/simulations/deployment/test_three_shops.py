"""The commands of the guide, from an empty folder to what a shopper is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.errors import ConfigError, RunError
from simulations.deployment.three_shops import block, walk, with_free_ports


@pytest.mark.long
def test_the_guides_commands_lead_from_nothing_to_a_recommendation(tmp_path: Path) -> None:
    walked = walk(tmp_path / "try", with_free_ports(block()))
    assert walked.cpu_seconds > 1
    rounds = re.findall(r"round +(\d)/(\d) \S+ (\d) answered, 0 refused", walked.said)
    assert rounds
    assert all(answered == "3" for _, _, answered in rounds)
    assert re.findall(r"^delivered (\w+): ok$", walked.said, re.M) == ["east", "north", "south"]
    assert "lifetime" in walked.said  # of the budget
    assert (tmp_path / "try" / "server" / "models" / "promotions.jsonl").exists()
    after = walked.said.partition("delivered south: ok")[2]
    shown = re.findall(r"^\d+ +-?\d+\.\d+ +\S", after, re.M)
    assert len(shown) == 5


def test_a_command_that_fails_ends_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no-such-command"):
        walk(tmp_path / "try", "no-such-command\n")


def test_ports_are_moved_and_nothing_else() -> None:
    text = block()
    moved = with_free_ports(text)
    assert "127.0.0.1:8443" in text
    assert "127.0.0.1:8443" not in moved
    port = re.search(r"run server --inside \S+ --listen 127.0.0.1:(\d+)", moved)
    assert port is not None
    assert f"--host 127.0.0.1 --port {port[1]} " in moved
    assert len(moved.splitlines()) == len(text.splitlines())


def test_a_page_without_commands_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no page"):
        block(tmp_path / "none.md")
