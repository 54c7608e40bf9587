"""Clients of their own for tests that let a defect in."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulations.run_folder import RunFolder
from tests.defects.support import JOBS, Change, change_tables


@pytest.fixture(autouse=True)
def _no_contribution_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A defect must be found by what it does, not by the way in which it breaks down."""
    yield
    broken = [record.getMessage() for record in caplog.get_records("call") if record.exc_info]
    assert not broken


@pytest.fixture
def client_of(
    run_folder: RunFolder, open_shop: Callable[..., Any], tmp_path: Path
) -> Callable[..., Any]:
    """A client of a copy of the prepared run, with a ledger and a job of its own.

    `client_of("dpsgd")` draws the noise of a fixed seed, the same in every copy; with
    `secret_noise` from the operating system, as in deployment. `change` edits the table of
    its events and that of its held-out items, `position` says which of the clients it is,
    other keywords are fields of the job. Its policy allows the solver, and budget for one job.
    """
    numbers = itertools.count()

    def make(
        solver: str,
        *,
        change: Change | None = None,
        secret_noise: bool = False,
        position: int = 0,
        **job: Any,
    ) -> Any:
        copied = shutil.copytree(run_folder.path, tmp_path / f"copy-{next(numbers)}")
        shop = open_shop(RunFolder(Path(copied)), position)
        if change is not None:
            change_tables(shop.folder, change)
        if secret_noise:
            toml = shop.folder / "client.toml"
            toml.write_text(re.sub(r"^noise_seed.*\n", "", toml.read_text(), flags=re.M))
        fields = {**JOBS[solver], "evaluation_share": 0.05, "job_id": "ef" * 16, **job}
        asking = replace(shop, job=shop.job.model_copy(update=fields))
        asking.allow(solvers=(asking.job.solver,), renyi_order=asking.job.renyi_order)
        return asking

    return make
