"""Who may use a run's folder, and that nothing is lost by accident."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import Code, RunError
from server.app import read_job
from simulations.run_folder import RunFolder

HOLDER = """
import sys
from pathlib import Path
from simulations.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).parents[2]


def refused(action: Callable[..., Any], *args: Any, **named: Any) -> Code:
    with pytest.raises(RunError) as caught:
        action(*args, **named)
    return caught.value.code


@pytest.fixture
def held(run_folder: RunFolder) -> Any:
    """Another process works in the folder; it is killed, not asked to leave."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run_folder.path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield holder
    holder.kill()
    holder.communicate()


def test_a_second_process_is_refused_and_a_killed_one_lets_go(
    run_folder: RunFolder, held: Any
) -> None:
    assert refused(lambda: run_folder.lock().__enter__()) is Code.RUN_IN_USE
    assert refused(lambda: RunFolder.create(run_folder.path, force=True)) is Code.RUN_IN_USE
    assert run_folder.is_run()
    held.kill()
    held.wait()
    with run_folder.lock():
        pass


def test_the_lock_is_let_go_of_after_an_error(run_folder: RunFolder) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_inside(run_folder)
    with run_folder.lock():
        pass


def fail_inside(run_folder: RunFolder) -> None:
    with run_folder.lock():
        raise ZeroDivisionError


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    for force in (False, True):
        assert refused(RunFolder.create, tmp_path, force=force) is Code.RUN_EXISTS
    assert (tmp_path / "thesis.tex").read_text() == "ten years of work"


@pytest.mark.parametrize("marks", [["scenario.json"], ["job.json"], ["scenario.json", "job.json"]])
def test_force_deletes_only_what_was_laid_out_as_a_run(tmp_path: Path, marks: list[str]) -> None:
    """A scenario file beside other work does not make a folder a run."""
    for mark in [*marks, "thesis.tex"]:
        (tmp_path / mark).write_text("{}")
    assert refused(lambda: RunFolder.create(tmp_path, force=True)) is Code.RUN_EXISTS
    assert (tmp_path / "thesis.tex").exists()


def test_a_run_is_kept_without_force_and_replaced_with_it(run_folder: RunFolder) -> None:
    job = read_job(run_folder.path)
    assert refused(lambda: RunFolder.create(run_folder.path, force=False)) is Code.RUN_EXISTS
    assert read_job(run_folder.path) == job
    RunFolder.create(run_folder.path, force=True)
    assert list(run_folder.path.iterdir()) == []


def test_a_file_or_a_link_is_no_folder_to_replace(tmp_path: Path, run_folder: RunFolder) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("text")
    link.symlink_to(file)
    for path in (file, link):
        for force in (False, True):
            assert refused(RunFolder.create, path, force=force) is Code.RUN_EXISTS
    assert file.read_text() == "text"
    assert refused(lambda: RunFolder.create(file / "sub", force=False)) is Code.DATA_NOT_FOUND


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a" / "b", force=False)
    assert folder.path.is_dir()
    assert refused(lambda: RunFolder.existing(folder.path)) is Code.RUN_NOT_FOUND


def test_what_was_written_is_read(run_folder: RunFolder, small_scenario: Any) -> None:
    found = RunFolder.existing(run_folder.path)
    assert found.scenario == small_scenario()
    assert {"python", "platform", "flwr", "numpy"} <= set(found.read_versions())
    found.write_rounds()
    assert (run_folder.path / "rounds.jsonl").read_text().strip() == ""


def test_two_that_begin_at_once_do_not_mix(tmp_path: Path) -> None:
    """Both saw an empty folder; the second finds out before it writes."""
    one, two = (RunFolder.create(tmp_path / "run", force=False) for _ in range(2))
    with one.fresh():
        assert refused(lambda: two.fresh().__enter__()) is Code.RUN_IN_USE
        (one.path / "job.json").write_text("{}")
    assert refused(lambda: two.fresh().__enter__()) is Code.RUN_EXISTS
    assert (one.path / "job.json").exists()
