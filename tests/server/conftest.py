"""Federations with secure sums: of clients with words alone, and of real ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulations.run_folder import RunFolder
from tests.conftest import lay_out
from tests.server.parties import Federation
from tests.server.real_sums import MARKET


@pytest.fixture
def federation(tmp_path: Path) -> Callable[..., Federation]:
    return lambda clients=5, threshold=4, **more: Federation.of(
        tmp_path, clients, threshold, **more
    )


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs that are prepared once, so that their job is planned once."""
    known: dict[str, Path] = {}

    def prepared(**scenario: Any) -> Path:
        key = repr(sorted(scenario.items()))
        if key not in known:
            known[key] = lay_out(tmp_path_factory.mktemp("prepared") / "run", **scenario).path
        return known[key]

    return prepared


@pytest.fixture
def sums_run(_prepared: Callable[..., Path], tmp_path: Path) -> Callable[..., RunFolder]:
    """Five shops, at least four in a sum; budgets that are not what a test is about."""
    plain = {"marketplace": MARKET, "mode": "distributed", "threshold": 4, "lifetime_epsilon": 20.0}

    def run(name: str = "run", **more: Any) -> RunFolder:
        return RunFolder(Path(shutil.copytree(_prepared(**{**plain, **more}), tmp_path / name)))

    return run
