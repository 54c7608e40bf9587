"""A client's roster key and the command that shows it: made once, private, pinned or not."""

from __future__ import annotations

import json
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client.roster_key import ROSTER_KEY, load_roster_key, make_roster_key, roster_line
from client.store import POLICY_TOML
from common.errors import Code, ConfigError, PolicyError
from common.privacy.roster import Roster
from common.privacy.signing import SigningKey
from hushrec import command_line


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


def run(shop: Any) -> Any:
    return CliRunner().invoke(command_line(), ["roster", str(shop.folder)])


def found(shop: Any) -> dict[str, Any]:
    done = CliRunner().invoke(command_line(), ["roster", str(shop.folder), "--format", "json"])
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
