"""`hushrec server models`, `promote` and `rollback`, as an operator uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import Code
from server.models import Models
from tests.client.enroll.shops import enrol_server, hushrec, refusal, said
from tests.sent_models import PRIVACY, finished

FIRST, SECOND, EXACT = "0001-1a2b3c4d", "0002-5e6f7a8b", "0003-00000000"


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's home with three versions, the last without a guarantee."""
    folder = tmp_path_factory.mktemp("operator")
    enrol_server(folder / "home")
    jobs = [("1a2b3c4d", True), ("5e6f7a8b", True), ("00000000", False)]
    for at, (job, private) in enumerate(jobs):
        privacy = PRIVACY if private else {"mode": "none", "epsilon": None}
        made = finished(folder / f"run-{at}", job * 4, at, private=private, privacy=privacy)
        Models(folder / "home").register(f"run-{at}", made)
    return folder / "home"


@pytest.fixture
def home(enrolled: Path) -> Path:
    """The same, with nothing promoted."""
    (enrolled / "models" / "promotions.jsonl").unlink(missing_ok=True)
    return enrolled


def test_versions_are_listed_with_what_they_promise(home: Path) -> None:
    said("server", "promote", home, SECOND)
    shown = hushrec("server", "models", home)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    first, second, exact = (next(x for x in lines if name in x) for name in (FIRST, SECOND, EXACT))
    assert "promoted (1)" in second
    assert "promoted" not in first + exact
    assert "NOT PRIVATE" in exact
    assert "NOT PRIVATE" not in first + second
    assert f"    {PRIVACY['guarantee']}" in lines


def test_a_version_of_another_kind_is_listed_as_one(tmp_path: Path) -> None:
    """The server keeps, promotes and lists what it need not be able to compute with."""
    enrol_server(tmp_path / "home")
    made = finished(tmp_path / "run", "1a2b3c4d" * 4, model="drift", settings={})
    Models(tmp_path / "home").register("run", made)
    said("server", "promote", tmp_path / "home", FIRST)
    assert said("server", "models", tmp_path / "home")["versions"][0]["model"] == "drift"
    assert "  drift  promoted (1)" in hushrec("server", "models", tmp_path / "home").stdout


def test_an_epsilon_is_never_without_what_belongs_to_it(home: Path) -> None:
    listed = said("server", "models", home)
    assert listed["promoted"] is None
    assert listed["promotions"] == []
    first, _, exact = listed["versions"]
    assert (first["version"], first["run"], first["private"]) == (FIRST, "run-0", True)
    assert (first["privacy"], first["model"]) == (PRIVACY, "mf")
    assert set(exact["privacy"]) == set(PRIVACY)
    assert (exact["private"], exact["privacy"]["epsilon"]) == (False, None)


def test_promote_and_roll_back(home: Path) -> None:
    promoted = said("server", "promote", home, FIRST)
    assert (promoted["serial"], promoted["version"]) == (1, FIRST)
    assert said("server", "promote", home, SECOND)["serial"] == 2
    back = said("server", "rollback", home)
    assert (back["serial"], back["version"], back["back_to"]) == (3, FIRST, 1)
    assert said("server", "models", home)["promoted"] == back
    assert refusal("server", "rollback", home) == Code.MODEL_MISSING
    text = hushrec("server", "promote", home, SECOND).stdout
    assert f"promotion 4: {SECOND}" in text
    assert "hushrec server deliver" in text
    lines = (home / "models" / "promotions.jsonl").read_text().splitlines()
    assert [json.loads(line)["serial"] for line in lines] == [1, 2, 3, 4]


def test_without_a_guarantee_it_takes_words(home: Path) -> None:
    assert refusal("server", "promote", home, EXACT) == Code.MODEL_NOT_PRIVATE
    assert said("server", "models", home)["promoted"] is None
    assert said("server", "promote", home, EXACT, "--not-private")["version"] == EXACT


def test_what_is_not_there_is_said(home: Path, tmp_path: Path) -> None:
    assert refusal("server", "promote", home, "0009-1a2b3c4d") == Code.MODEL_UNKNOWN
    assert refusal("server", "rollback", home) == Code.MODEL_MISSING
    for words in (("models",), ("promote", FIRST), ("rollback",)):
        nowhere = ("server", words[0], tmp_path, *words[1:])
        assert refusal(*nowhere) == Code.CONFIG_NOT_FOUND


def test_a_home_without_a_model_says_so(tmp_path: Path) -> None:
    enrol_server(tmp_path / "home")
    assert "No version yet" in hushrec("server", "models", tmp_path / "home").stdout
    assert said("server", "models", tmp_path / "home") == {
        "promoted": None, "versions": [], "promotions": []
    }  # fmt: skip
    assert not (tmp_path / "home" / "models").exists()
