"""The operator's commands: what is wrong is said before anything is made or started."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.gateway.folder import ServerFolder
from server.training.folder import OUTCOME_FILE, Training, trainings
from server.training.request import Request
from tests.client.enroll.shops import hushrec, refusal


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a server that has run, and listens nowhere now."""
    folder = ServerFolder.opened(tmp_path / "home")
    assert folder.operator_token()
    folder.inside_certificate("127.0.0.1")
    return folder.path


def test_a_server_that_never_ran_trains_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    assert refusal("server", "train", tmp_path / "home") == "config-not-found"
    assert refusal("server", "deliver", tmp_path / "home") == "config-not-found"
    assert refusal("server", "superexec", tmp_path / "home") == "config-not-found"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--threshold", 3), "plan-mode"),
        (("--mode", "none"), "config-invalid"),
        (("--epsilon", 0), "config-invalid"),
        (("--dim", 4, "--set", "embedding_dim=8"), "config-invalid"),
        (("--name", "a/b"), "config-invalid"),
        (("--resume", "nobody"), "run-not-found"),
        (("--every", "often"), "config-invalid"),
        (("--request", "nowhere.toml"), "config-not-found"),
        (("--mode", "distributed"), "data-not-found"),
        (("--inside", "nowhere"), "config-invalid"),
        (("--bundle", "nowhere.fab"), "data-not-found"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_has_its_code_and_leaves_no_training(
    home: Path, words: tuple[object, ...], code: str
) -> None:
    assert refusal("server", "train", home, *words) == code
    assert trainings(home) == []


@pytest.mark.parametrize("words", [("--rounds", 3), ("--name", "b"), ("--every", "1h")], ids=str)
def test_a_training_that_was_begun_keeps_its_request(home: Path, words: tuple[object, ...]) -> None:
    Training.create(home, Request(), "a")
    done = hushrec("server", "train", home, "--resume", "a", *words)
    assert done.exit_code == 2
    assert "keeps its request" in done.stderr


def test_options_win_over_the_file(home: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked.toml"
    asked.write_text("rounds = 3\nepsilon = 4.0\nquorum = 2\nthreshold = 2\n")
    refused = ("--epsilon", 2, "--quorum", 0)
    assert refusal("server", "train", home, "--request", asked, *refused) == "config-invalid"
    assert refusal("server", "train", home, "--request", asked, "--epsilon", 2) == "plan-mode"


def test_a_training_without_its_driver_has_no_outcome(home: Path) -> None:
    made = Training.create(home, Request(), "a")
    assert not (made.path / OUTCOME_FILE).exists()
    assert made.outcome(1) is None
