"""What the ServerApp reads from a run's folder beside the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from common.errors import Code, ConfigError, PolicyError, RunError
from common.privacy.signing import SigningKey
from server.app import ROSTER_FILE, make_app, read_job, read_roster
from server.seen import RECORD_MARK, recordings


@pytest.fixture
def run(prepare_run: Callable[..., Any]) -> Any:
    return prepare_run(mode="distributed")


@pytest.fixture
def start(recording_grid: Callable[..., Any]) -> Callable[..., None]:
    def start(run: Any, **options: Any) -> None:
        context = Context(1, 1, {}, RecordDict(), {"run": str(run.path)})
        make_app(**options)(recording_grid(run.path), context)

    return start


@pytest.mark.parametrize(
    ("mark", "asked", "recorded"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_sums_are_recorded_where_the_folder_or_the_caller_says_so(
    run: Any, start: Callable[..., None], mark: bool, asked: bool | None, recorded: bool
) -> None:
    if mark:
        (run.path / RECORD_MARK).touch()
    start(run, record_sums=asked)
    if recorded:
        assert [(seen.step, seen.session) for seen in recordings(run.path / "server")] == [
            (0, 0), (1, 0), (2, 0)
        ]  # fmt: skip
    else:
        assert not (run.path / "server" / "seen").exists()


def test_the_roster_beside_a_job_is_the_jobs_and_without_it_nobody_is_asked(
    run: Any, start: Callable[..., None], spent: Callable[..., Any]
) -> None:
    roster = read_roster(run.path)
    assert roster is not None
    assert roster.digest == read_job(run.path).roster
    (run.path / ROSTER_FILE).unlink()
    assert read_roster(run.path) is None
    with pytest.raises(RunError, match="here is none") as caught:
        start(run)
    assert caught.value.code is Code.RUN_MISMATCH
    assert all(kinds in ([], ["open"]) for kinds in spent(run.path).values())


def test_another_roster_ends_a_run_before_anybody_is_asked(
    run: Any, start: Callable[..., None], spent: Callable[..., Any]
) -> None:
    path = run.path / ROSTER_FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], f'shop-9 = "{SigningKey.create().public}"']))
    with pytest.raises(RunError) as caught:
        start(run)
    assert caught.value.code is Code.RUN_MISMATCH
    assert all(kinds in ([], ["open"]) for kinds in spent(run.path).values())


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        ("[roster", ConfigError, Code.CONFIG_INVALID),
        ("", ConfigError, Code.CONFIG_INVALID),
        ("[rooster]", ConfigError, Code.CONFIG_UNKNOWN_KEY),
        ('[roster]\na = "1"', ConfigError, Code.CONFIG_INVALID),
        ('[roster]\na = "{key}"\nb = "{key}"', PolicyError, Code.POLICY_ROSTER),
    ],
)
def test_a_roster_that_is_none_is_an_error(
    tmp_path: Any, text: str, error: type[Exception], code: Code
) -> None:
    key = SigningKey.create().public
    (tmp_path / ROSTER_FILE).write_text(text.replace("{key}", key))
    with pytest.raises(error) as caught:
        read_roster(tmp_path)
    assert caught.value.code is code  # type: ignore[attr-defined]
