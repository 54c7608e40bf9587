"""Five shops that sum securely: four must answer, one may collude."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulations.run_folder import RunFolder
from tests.client.summing import Session
from tests.conftest import lay_out

FIVE = {
    "users": 120, "items": 60, "categories": 4, "shop_sizes": (24, 24, 24, 24, 24),
    "events_per_user": 12.0, "seed": 3,
}  # fmt: skip


@pytest.fixture(scope="session")
def _summing_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("summing") / "run"
    return lay_out(path, mode="distributed", marketplace=FIVE, fixed_noise=False).path


@pytest.fixture
def summing_run(_summing_template: Path, tmp_path: Path) -> RunFolder:
    """A prepared run of mode `distributed`, with noise from the system."""
    return RunFolder(Path(shutil.copytree(_summing_template, tmp_path / "summing")))


@pytest.fixture
def session(summing_run: RunFolder, open_shop: Callable[..., Any]) -> Session:
    """The first session of the first step, of which nothing was said yet."""
    return Session(shops_of(summing_run, open_shop))


def shops_of(run: RunFolder, open_shop: Callable[..., Any]) -> dict[str, Any]:
    """All shops of a run, by name."""
    shops = [open_shop(run, position) for position in range(5)]
    return {shop.store.settings.name: shop for shop in shops}
