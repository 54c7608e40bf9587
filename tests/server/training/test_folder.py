"""A training's folder: made once, its name a name, who has it known to everybody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import Code, HushRecError, RunError
from common.privacy.roster import Roster
from common.privacy.signing import SigningKey
from server.enroll.home import write_roster
from server.quorum import NO_ANSWER, QuorumError
from server.training.folder import Outcome, Training, new_name, trainings
from server.training.request import Request


def test_a_training_is_made_once_and_found_by_its_name(tmp_path: Path) -> None:
    made = Training.create(tmp_path, Request(), "first")
    assert Training.existing(tmp_path, "first") == made
    assert [one.name for one in trainings(tmp_path)] == ["first"]
    with pytest.raises(RunError) as caught:
        Training.create(tmp_path, Request(), "first")
    assert caught.value.code is Code.RUN_EXISTS
    with pytest.raises(RunError, match="There are: first") as missing:
        Training.existing(tmp_path, "second")
    assert missing.value.code is Code.RUN_NOT_FOUND


@pytest.mark.parametrize("dies_at", ["roster.toml", "request.toml", "rename"])
def test_a_command_that_is_killed_leaves_the_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    write_roster(tmp_path, Roster.of({"a": SigningKey.create().public}))
    request = Request(mode="distributed")

    def killed(part: Path, *_: object, **__: object) -> None:
        if dies_at in {"rename", part.name}:
            raise KeyboardInterrupt
        part.write_text("")

    with monkeypatch.context() as patch:
        patch.setattr("server.training.making.shutil.rmtree", lambda *_, **__: None)
        patch.setattr(Path, "rename", killed)
        if dies_at != "rename":
            patch.setattr("server.training.folder.write_atomic", killed)
            patch.setattr("server.training.request.write_atomic", killed)
        with pytest.raises(KeyboardInterrupt):
            Training.create(tmp_path, request, "first")
    assert list((tmp_path / "runs").iterdir())
    assert trainings(tmp_path) == []
    Training.create(tmp_path, request, "first")
    assert [one.name for one in trainings(tmp_path)] == ["first"]


def test_two_commands_that_take_one_date_have_two_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["2026-01-01-1", "2026-01-01-1", "2026-01-01-2"])
    monkeypatch.setattr("server.training.folder.new_name", lambda _: next(names))
    first = Training.create_dated(tmp_path, Request(epsilon=2.0))
    second = Training.create_dated(tmp_path, Request(epsilon=4.0))
    assert [first.name, second.name] == ["2026-01-01-1", "2026-01-01-2"]
    assert Request.of_run(first.path) == Request(epsilon=2.0)
    assert [path.name for path in sorted((tmp_path / "runs").iterdir())] == [
        first.name, second.name
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 65, "ä", "a b"])
def test_what_is_no_name_makes_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(HushRecError) as caught:
        Training.create(tmp_path, Request(), name)
    assert caught.value.code is Code.CONFIG_INVALID
    assert not list(tmp_path.iterdir())


def test_names_are_dates_that_nobody_has(tmp_path: Path) -> None:
    first = new_name(tmp_path)
    Training.create(tmp_path, Request(), first)
    second = new_name(tmp_path)
    assert first.endswith("-1")
    assert second != first


def test_secure_sums_take_the_roster_of_the_home(tmp_path: Path) -> None:
    request = Request(mode="distributed")
    with pytest.raises(HushRecError):
        Training.create(tmp_path, request, "without")
    assert not (tmp_path / "runs").exists()
    write_roster(tmp_path, Roster.of({"a": SigningKey.create().public}))
    made = Training.create(tmp_path, request, "with")
    assert (made.path / "roster.toml").read_bytes() == (tmp_path / "roster.toml").read_bytes()


def test_flowers_runs_are_remembered_in_order(tmp_path: Path) -> None:
    made = Training.create(tmp_path, Request(), "first")
    assert made.run_ids == ()
    made.began(3)
    made.began(1)
    assert made.run_ids == (3, 1)


def test_a_server_app_that_let_go_without_a_word_is_dead(tmp_path: Path) -> None:
    made = Training.create(tmp_path, Request(), "first")
    assert not made.is_dead(3)
    with made.working(3, patience_seconds=0):
        assert not made.is_dead(3)
        with pytest.raises(RunError), made.working(4, patience_seconds=0):
            pass
    assert made.is_dead(3)
    assert not made.is_dead(4)


def test_an_outcome_is_that_of_one_run(tmp_path: Path) -> None:
    made = Training.create(tmp_path, Request(), "first")
    error = QuorumError("too few.", where="start", missing=2, refused={"a": NO_ANSWER})
    Outcome.of_error(3, error).save(made.path)
    found = made.outcome(3)
    assert found is not None
    assert (found.error.code, found.error.where) == (Code.RUN_QUORUM, "start")
    assert made.outcome(4) is None


@pytest.mark.parametrize("held", [(), ("a",)], ids=["may be asked", "held"])
def test_an_outcome_passes_as_its_error_does(held: tuple[str, ...]) -> None:
    error = QuorumError("too few.", refused={"a": NO_ANSWER}, held=held)
    assert Outcome.of_error(1, error).passes is error.passes is (not held)


def test_a_person_resumes_what_ended_and_no_more(tmp_path: Path) -> None:
    made = Training.create(tmp_path, Request(), "first")
    made.resume()
    Outcome(run_id=1, code=str(Code.RUN_QUORUM), passes=True).save(made.path)
    made.resume()
    assert made.resumed == 0
    Outcome(run_id=2, code=str(Code.RUN_QUORUM)).save(made.path)
    made.resume()
    assert Training.existing(tmp_path, "first").resumed == 1
