"""A server's home with a training in it, and the shops of a prepared run as its clients."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from common.catalogue import Catalogue
from server.app import make_app
from server.enroll.home import CATALOGUE
from server.keys import home_key
from server.training.request import Request
from simulations.engine.folders import client_folders
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


@pytest.fixture
def trained(run_folder: RunFolder, tmp_path: Path) -> Trained:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(run_folder.path / "server" / "server_key.pem", home)
    shutil.copy(run_folder.path / "catalogue.json", home / CATALOGUE)
    assert home_key(home)
    assert len(Catalogue.load(home / CATALOGUE))
    assert client_folders(run_folder.path)
    return Trained(run_folder, home, RecordingGrid(run_folder.path))


@pytest.fixture
def made(trained: Trained) -> Callable[..., Trained]:
    """The same, once it was asked for something."""

    def make(**values: Any) -> Trained:
        trained.ask(**values)
        return trained

    return make
