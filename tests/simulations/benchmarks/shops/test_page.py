"""The page is made of any rows, and says how figures grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulations.benchmarks.shops.page import growth, write

FIGURES = (
    *("online, s", "training, s", "first step, s", "step, s", "up, kB", "down, kB"),
    *("bundle, kB", "requests", "idle requests", "slowest request, ms", "gateway, MB"),
    *("server app, MB", "all nodes, MB", "gateway, cpu s", "server app, cpu s", "node, cpu s"),
)


def row(shops: int, items: int = 100) -> dict[str, Any]:
    """A run where everything but a node's own share grows with the shops."""
    sizes = {"shops": shops, "items": items, "users": 10, "rounds": 2, "seed": 0}
    figures = {**dict.fromkeys(FIGURES, float(shops)), "node, cpu s": 0.5, "step, s": shops**2.0}
    return {**sizes, "poll_seconds": 3.0, **figures, "load": 0.1}


def test_growth_is_an_exponent_of_shops() -> None:
    found = growth(pd.DataFrame([row(10), row(20), row(40)])).set_index("figure")
    assert found.loc["step, s", "p"] == pytest.approx(2)
    assert found.loc["up, kB", "p"] == pytest.approx(1)
    assert found.loc["node, cpu s", "p"] == pytest.approx(0)
    assert found.loc["up, kB", "times"] == pytest.approx(4)


def test_the_page_has_a_table_for_each_question(tmp_path: Path) -> None:
    rows = [row(10), row(30), row(10, items=500)]
    write(tmp_path, rows)
    page = (tmp_path / "fifty-shops.md").read_text()
    for caption in ("Time", "Bytes", "Memory", "Processor", "Growth"):
        assert f"## {caption}" in page
    assert "{" not in page
    assert json.loads((tmp_path / "fifty-shops.json").read_text())["runs"] == rows


def test_one_size_has_no_growth(tmp_path: Path) -> None:
    write(tmp_path, [row(3)])
    assert "## Growth" not in (tmp_path / "fifty-shops.md").read_text()
