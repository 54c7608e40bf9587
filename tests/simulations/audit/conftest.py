"""One small run for all tests of the audit, finished and audited once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulations.audit.attacks import AttackSizes
from simulations.audit.run import RunAudit, audit_run
from simulations.live import LiveView
from simulations.runner import start_run
from simulations.scenario import Scenario

SMALL = {
    "marketplace": {
        "users": 120,
        "items": 60,
        "categories": 4,
        "shop_sizes": (48, 40, 32),
        "events_per_user": 12.0,
        "seed": 3,
    },
    "min_users": 1,
    "rounds": 1,
    "dim": 4,
    "epsilon": 4.0,
}
SIZES = AttackSizes(
    users=40, canaries=40, runs=400, shadows=7, releases=2, targets=5, fixed_noise=True
)


def finished(path: Path, **changes: Any) -> Path:
    with LiveView() as view:
        start_run(Scenario.load({**SMALL, **changes}), path, view, force=False)
    return path


@pytest.fixture(scope="session")
def _done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("audit") / "done")


@pytest.fixture
def done(_done: Path, tmp_path: Path) -> Path:
    """A finished run of this test's own, its noise secret."""
    return Path(shutil.copytree(_done, tmp_path / "done"))


@pytest.fixture(scope="session")
def audited(_done: Path, tmp_path_factory: pytest.TempPathFactory) -> RunAudit:
    """The run with every attack, each as small as it can be."""
    run = Path(shutil.copytree(_done, tmp_path_factory.mktemp("attacked") / "done"))
    return audit_run(run, sizes=SIZES)


@pytest.fixture
def finish_run(tmp_path: Path) -> Callable[..., Path]:
    """Run the small scenario with changes."""
    return lambda **changes: finished(tmp_path / "run", **changes)
