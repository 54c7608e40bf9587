"""Federations with secure sums: of clients with words alone, and of real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server.parties import Federation
from tests.server.real_sums import MARKET


@pytest.fixture
def federation(tmp_path: Path) -> Callable[..., Federation]:
    return lambda clients=5, threshold=4, **more: Federation.of(
        tmp_path, clients, threshold, **more
    )


@pytest.fixture
def sums_run(prepare_run: Callable[..., Any]) -> Callable[..., Any]:
    """Five shops, at least four in a sum; budgets that are not what a test is about."""
    plain = {"marketplace": MARKET, "mode": "distributed", "threshold": 4, "lifetime_epsilon": 20.0}
    return lambda name="run", **more: prepare_run(name, **{**plain, **more})
