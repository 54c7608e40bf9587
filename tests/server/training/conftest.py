"""A server's home with a training in it, and the shops of a prepared run as its clients."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from server.app import make_app
from server.enroll.home import CATALOGUE
from server.training.request import Request
from simulations.run_folder import RunFolder
from tests.conftest import RecordingGrid

SMALL = {"promote": False, "rounds": 2, "dim": 4, "seed": 7, "wait_seconds": 0}
"""What the shops' policies allow: they were written for the job of their own run."""


@dataclass
class Trained:
    """A training in a home of its own, over shops that know its server."""

    shops: RunFolder
    home: Path
    grid: RecordingGrid

    @property
    def folder(self) -> Path:
        return self.home / "runs" / "first"

    def ask(self, **values: Any) -> Request:
        request = Request.load({**SMALL, **values})
        self.folder.mkdir(parents=True, exist_ok=True)
        request.save(self.folder)
        return request

    def run(self, run_id: int = 7, observer: Any = None, folder: Path | None = None) -> None:
        run = self.folder if folder is None else folder
        config = {"run": str(run), "server-home": str(self.home)}
        make_app(observer=observer)(self.grid, Context(run_id, 1, {}, RecordDict(), config))


def settled(shops: RunFolder, home: Path) -> Trained:
    """A home with the key and the catalogue that the shops of a run know."""
    home.mkdir()
    shutil.copy(shops.path / "server" / "server_key.pem", home)
    shutil.copy(shops.path / "catalogue.json", home / CATALOGUE)
    return Trained(shops, home, RecordingGrid(shops.path))


@pytest.fixture
def trained(run_folder: RunFolder, tmp_path: Path) -> Trained:
    return settled(run_folder, tmp_path / "home")


@pytest.fixture
def private(prepare_run: Callable[..., RunFolder], tmp_path: Path) -> Trained:
    """The same over shops whose noise is secret, so that their model may be promoted."""
    return settled(prepare_run("shops", fixed_noise=False), tmp_path / "home")


@pytest.fixture
def summing(prepare_run: Callable[..., RunFolder], tmp_path: Path) -> Trained:
    """Four shops that pin each other, and a training that has a copy of their roster."""
    market = {"users": 120, "items": 60, "categories": 4, "events_per_user": 12.0, "seed": 3}
    shops = prepare_run(
        "shops",
        mode="distributed",
        threshold=3,
        marketplace={**market, "shop_sizes": (36, 32, 28, 24)},
        lifetime_epsilon=20.0,
    )
    found = settled(shops, tmp_path / "home")
    found.folder.mkdir(parents=True)
    shutil.copy(shops.path / "roster.toml", found.folder)
    return found


@pytest.fixture
def made(trained: Trained) -> Callable[..., Trained]:
    """The same, once it was asked for something."""

    def make(**values: Any) -> Trained:
        trained.ask(**values)
        return trained

    return make
