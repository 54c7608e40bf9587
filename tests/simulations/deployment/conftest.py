"""A small federation that is laid out once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulations.deployment.demo import Demo, lay_out
from simulations.deployment.layout import Places
from simulations.deployment.namespaces import HUB


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two shops, let in, and nobody running; tests in turn may start them."""
    folder = tmp_path_factory.mktemp("federation") / "all"
    lay_out(folder, Demo(shops=2, users=60, items=40, hosts=(HUB,), epsilon=16.0, delta=1e-3))
    yield folder
    shutil.rmtree(Places(folder).folder, ignore_errors=True)
