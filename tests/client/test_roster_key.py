"""A client's roster key and the command that shows it: made once, private, pinned or not."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client.roster_key import (
    ROSTER_KEY,
    load_roster_key,
    make_roster_key,
    renew_roster_key,
    roster_line,
)
from client.store import POLICY_TOML
from common.errors import Code, ConfigError, DataError, PolicyError
from common.privacy.roster import Roster
from common.privacy.signing import SigningKey
from hushrec import command_line
from tests.client.summing import Session


def test_a_key_is_made_once_and_never_replaced(tmp_path: Path) -> None:
    key = make_roster_key(tmp_path)
    assert make_roster_key(tmp_path).public == load_roster_key(tmp_path).public == key.public
    assert (tmp_path / ROSTER_KEY).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [ROSTER_KEY]


def test_who_makes_it_at_the_same_time_has_the_same(tmp_path: Path) -> None:
    """A key of which the line was already shown must not be another one a moment later."""
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: make_roster_key(tmp_path).public, range(16)))
    assert keys == {load_roster_key(tmp_path).public}


def test_without_a_key_nobody_takes_part(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        load_roster_key(tmp_path)
    assert caught.value.code is Code.POLICY_ROSTER
    (tmp_path / ROSTER_KEY).write_text("no key")
    with pytest.raises(PolicyError):
        load_roster_key(tmp_path)
    with pytest.raises(ConfigError):  # and it is not replaced
        make_roster_key(tmp_path)
    assert (tmp_path / ROSTER_KEY).read_text() == "no key"


@pytest.mark.parametrize("name", ["shop-1", "a.b", "Köln", "1", "a-b_c", "true"])
def test_the_line_is_toml_for_every_name(name: str) -> None:
    public = SigningKey.create().public
    assert tomllib.loads(roster_line(name, public)) == {name: public}


TODAY = date(2026, 11, 21)


@pytest.mark.parametrize("where", ["save", "replace", "link", "fsync"])
@pytest.mark.parametrize("renewing", [False, True])
def test_a_kill_while_a_key_is_made_leaves_the_old_one_or_a_new_one_and_no_scraps(
    tmp_path: Path, where: str, renewing: bool
) -> None:
    old = make_roster_key(tmp_path).public if renewing else None
    pid = os.fork()
    if pid == 0:
        target = {"save": SigningKey, "replace": Path}.get(where, os)
        setattr(target, where, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        _ = renew_roster_key(tmp_path, TODAY) if renewing else make_roster_key(tmp_path)
        os._exit(0)
    os.waitpid(pid, 0)
    if renewing:
        assert load_roster_key(tmp_path).public == old
        new, kept = renew_roster_key(tmp_path, TODAY)
        assert kept is not None
        assert SigningKey.load(kept).public == old != new.public
        assert sorted(files(tmp_path)) == sorted([ROSTER_KEY, "roster_key.2026-11-21.pem"])
    else:
        make_roster_key(tmp_path)
        assert files(tmp_path) == [ROSTER_KEY]


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_renewed_key_is_another_one_and_old_ones_are_kept_by_day(tmp_path: Path) -> None:
    assert renew_roster_key(tmp_path, TODAY)[1] is None  # there was none
    keys, kept = [load_roster_key(tmp_path).public], []
    for _ in range(3):
        new, old = renew_roster_key(tmp_path, TODAY)
        assert old is not None
        kept.append(old)
        keys.append(new.public)
        assert load_roster_key(tmp_path).public == new.public
    names = ["roster_key.2026-11-21.pem", "roster_key.2026-11-21.2.pem"]
    assert [path.name for path in kept] == [*names, "roster_key.2026-11-21.3.pem"]
    assert [SigningKey.load(path).public for path in kept] == keys[:3]
    assert len(set(keys)) == 4
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_broken_key_can_be_renewed_and_is_kept_as_it_was(tmp_path: Path) -> None:
    (tmp_path / ROSTER_KEY).write_text("no key")
    (tmp_path / ROSTER_KEY).chmod(0o644)
    _, kept = renew_roster_key(tmp_path, TODAY)
    assert kept is not None
    assert kept.read_text() == "no key"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert load_roster_key(tmp_path)


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    for work in (make_roster_key, lambda folder: renew_roster_key(folder, TODAY)):
        with pytest.raises(DataError):
            work(tmp_path / "missing")


def run(shop: Any, *options: str) -> Any:
    return CliRunner().invoke(command_line(), ["roster", str(shop.folder), *options])


def found(shop: Any, *options: str) -> dict[str, Any]:
    done = run(shop, "--format", "json", *options)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_command_makes_the_key_and_says_where_it_stands(shop: Any) -> None:
    assert not (shop.folder / ROSTER_KEY).exists()
    first = found(shop)
    assert first["standing"] == "there is no roster"
    assert first["digest"] is None
    public, other = first["roster_key"], SigningKey.create().public
    assert load_roster_key(shop.folder).public == public
    rosters = {
        "missing": {"shop-2": other},
        "another key": {"shop-1": other},
        "pinned": {"shop-1": public, "shop-2": other},
    }
    for standing, pinned in rosters.items():
        shop.allow(roster=pinned, colluders=2)
        now = found(shop)
        assert (now["standing"], now["clients"]) == (standing, len(pinned))
        assert now["digest"] == Roster.of(pinned).digest
        assert (now["roster_key"], now["colluders"]) == (public, 2)
    assert shop.kinds() == ["open"]  # nothing was asked of the client


def test_the_text_is_the_line_alone_and_the_rest_goes_to_stderr(shop: Any) -> None:
    done = run(shop)
    assert tomllib.loads(done.stdout) == {"shop-1": load_roster_key(shop.folder).public}
    assert "no [roster]" in done.stderr
    assert "PRIVATE" not in done.output


def test_a_client_without_a_policy_has_a_line_already(shop: Any) -> None:
    (shop.folder / POLICY_TOML).unlink()
    assert found(shop)["standing"] == "there is no policy"


def test_a_folder_that_is_no_client_gets_no_key(tmp_path: Path) -> None:
    done = CliRunner().invoke(command_line(), ["roster", str(tmp_path)])
    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_policy_that_cannot_be_meant_is_an_error(shop: Any) -> None:
    key = SigningKey.create().public
    text = f'[roster]\nshop-1 = "{key}"\nshop-2 = "{key}"\n'
    policy = (shop.folder / POLICY_TOML).read_text()
    (shop.folder / POLICY_TOML).write_text(policy + text)
    assert run(shop).exit_code == 2


def test_renewing_says_what_everybody_must_do_and_whose_policy_has_the_old_key(shop: Any) -> None:
    public = found(shop)["roster_key"]
    shop.allow(roster={"shop-1": public, "shop-2": SigningKey.create().public}, colluders=1)
    now = found(shop, "--renew")
    assert now["roster_key"] == load_roster_key(shop.folder).public != public
    assert (now["renewed"], now["standing"]) == (True, "another key")
    assert SigningKey.load(shop.folder / now["old_key"]).public == public
    assert "renewed" not in found(shop)
    done = run(shop, "--renew")
    assert tomllib.loads(done.stdout) == {"shop-1": load_roster_key(shop.folder).public}
    for said in ("kept as roster_key.", "every client", "roster.toml", "digest", "another key"):
        assert said in done.stderr
    assert "PRIVATE" not in done.output


def test_a_client_with_a_renewed_key_is_refused_until_its_policy_is_edited(
    session: Session,
) -> None:
    """What was under way with the old key is over, and the old roster is nobody's any more."""
    session.go("keys", "shares", "masked")
    shop = session.shops["shop-1"]
    renewed = found(shop, "--renew")
    assert session.say("shop-1", "survivors", session.survivors).code == Code.POLICY_ROSTER
    pinned = {**shop.policy.roster, "shop-1": renewed["roster_key"]}
    for one in session.shops.values():
        one.allow(roster=pinned)
    assert found(shop)["standing"] == "pinned"
    for name in session.shops:  # the job names the old roster
        assert session.say(name, "survivors", session.survivors).code == Code.POLICY_ROSTER
    changes = {"job_id": "cd" * 16, "roster": Roster.of(pinned).digest}
    for one in session.shops.values():
        one.allow(lifetime={**one.policy.lifetime.model_dump(), "epsilon": 16.0})
    again = Session({name: one.variant(**changes) for name, one in session.shops.items()})
    again.go("keys", "shares", "masked", "survivors", "reveal")
