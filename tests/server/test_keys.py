"""The server's key: made once, held to the job, readable by nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import Code, ConfigError, DataError, RunError
from common.job import Job
from common.privacy.signing import SigningKey
from server.keys import HOME_VARIABLE, key_of, server_home, server_key

JOB = Job(
    job_id="ab" * 16, catalogue_version="c" * 64, n_items=3, clients=2, population=10, signal=7.0,
    epsilon=8.0, delta=0.01, solver="subspace",
)  # fmt: skip


def job_of(key: SigningKey) -> Job:
    return JOB.model_copy(update={"server": key.public})


def test_a_run_has_one_key_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    made = server_key(tmp_path)
    assert server_key(tmp_path).public == made.public
    assert (tmp_path / "server" / "server_key.pem").stat().st_mode & 0o777 == 0o600
    found = key_of(job_of(made), tmp_path / "server")
    assert found is not None
    assert found.public == made.public


def test_a_job_without_a_server_needs_no_key(tmp_path: Path) -> None:
    assert key_of(JOB, tmp_path / "server") is None


def test_a_key_that_is_not_the_jobs_stops_the_run(tmp_path: Path) -> None:
    mine, other = server_key(tmp_path / "a"), server_key(tmp_path / "b")
    with pytest.raises(RunError, match=other.public[:16]) as caught:
        key_of(job_of(mine), tmp_path / "b" / "server")
    assert caught.value.code is Code.RUN_MISMATCH


def test_a_lost_key_stops_the_run_and_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="missing") as caught:
        key_of(job_of(SigningKey.create()), tmp_path)
    assert caught.value.code is Code.RUN_MISMATCH
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    key = server_key(tmp_path)
    path = tmp_path / "server" / "server_key.pem"
    path.write_text("garbage")
    for read in (lambda: server_key(tmp_path), lambda: key_of(job_of(key), path.parent)):
        with pytest.raises(ConfigError) as caught:
            read()
        assert caught.value.where == str(path)


def test_without_a_name_every_run_has_a_home_of_its_own(tmp_path: Path) -> None:
    assert server_home(tmp_path / "a") == tmp_path / "a" / "server"
    assert server_key(tmp_path / "a").public != server_key(tmp_path / "b").public


def test_runs_of_one_home_are_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "some" / "home"
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    made = server_key(tmp_path / "a")
    assert server_key(tmp_path / "b").public == made.public
    assert [path.name for path in home.iterdir()] == ["server_key.pem"]
    assert (home / "server_key.pem").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "a").exists()
    found = key_of(job_of(made), server_home(tmp_path / "b"))
    assert found is not None
    assert found.public == made.public


def test_the_run_configuration_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "variable"))
    assert server_home(tmp_path, str(tmp_path / "given")) == tmp_path / "given"
    assert server_home(tmp_path, "") == tmp_path / "variable"
    monkeypatch.setenv(HOME_VARIABLE, "")
    assert server_home(tmp_path, "") == tmp_path / "server"


@pytest.mark.parametrize("named", ["home", "./home", "~/home", 7, True])
def test_a_home_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: object
) -> None:
    """Processes of one run may start in different folders."""
    with pytest.raises(ConfigError, match="absolute") as caught:
        server_home(tmp_path, named)
    assert "server-home" in caught.value.where
    monkeypatch.setenv(HOME_VARIABLE, str(named))
    with pytest.raises(ConfigError, match="absolute") as caught:
        server_key(tmp_path)
    assert caught.value.where == HOME_VARIABLE
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_lost_its_key_gets_no_other_one(tmp_path: Path) -> None:
    home = tmp_path / "server"
    home.mkdir()
    (home / "witness.jsonl").write_text("")
    with pytest.raises(RunError, match="missing") as caught:
        server_key(tmp_path)
    assert caught.value.code is Code.RUN_MISMATCH
    assert [path.name for path in home.iterdir()] == ["witness.jsonl"]


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("a file where the folder should be")
    with pytest.raises(DataError) as caught:
        server_key(tmp_path)
    assert caught.value.where == str(tmp_path / "server" / "server_key.pem")
