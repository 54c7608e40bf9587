"""A hash goes into a policy's list of bundles; not a character beside it changes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from client.enroll.bundle_text import with_bundle
from client.enroll.policy_text import first_policy
from client.owner import Owner
from common.bundle import build_bundle, bundle_sha256
from common.errors import Code, ConfigError
from tests.client.enroll.shops import enrol_client, enrol_server, hushrec, said, write_data

NEW, OLD, OLDER = "a" * 64, "b" * 64, "c" * 64
FIRST = first_policy(
    epsilon=8.0, delta=1e-5, modes=["local"], server="d" * 64, colluders=1, own=("n", "e" * 64)
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("bundles = []\n", f'bundles = ["{NEW}"]\n'),
        (f'bundles = ["{OLD}"] # old\n', f'bundles = ["{NEW}", "{OLD}"] # old\n'),
        (
            f'bundles = [\n    "{OLD}",  # May\n    "{OLDER}"\n]\n',
            f'bundles = ["{NEW}",\n    "{OLD}",  # May\n    "{OLDER}"\n]\n',
        ),
        (f'bundles = [ # which\r\n"{OLD}"]\r\n', f'bundles = ["{NEW}",  # which\r\n"{OLD}"]\r\n'),
        ("", f'bundles = ["{NEW}"]\n'),
        ("colluders = 1", f'colluders = 1\nbundles = ["{NEW}"]\n'),
        ("[lifetime]\nepsilon = 1\n", f'bundles = ["{NEW}"]\n\n[lifetime]\nepsilon = 1\n'),
    ],
    ids=["empty", "one", "lines", "windows", "nothing", "no-end", "tables"],
)
def test_the_hash_goes_in_and_the_rest_stays(before: str, after: str) -> None:
    assert with_bundle(before, NEW) == after
    assert with_bundle(after, NEW) == after


def test_a_first_policy_gets_its_first_bundle() -> None:
    changed = with_bundle(FIRST, NEW)
    assert changed == FIRST.replace("bundles = []", f'bundles = ["{NEW}"]')
    assert tomllib.loads(changed)["bundles"] == [NEW]


@pytest.mark.parametrize(
    "text",
    ["bundles = [", '"bundles" = []\n', "bundles = 3\n", "x = [\nbundles = []\n"],
)
def test_what_cannot_be_edited_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match=NEW) as caught:
        with_bundle(text, NEW)
    assert caught.value.code is Code.CONFIG_INVALID


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_data(tmp_path)
    server: dict[str, Any] = enrol_server(tmp_path / "server")
    enrol_client(tmp_path / "north", "north", server)
    return tmp_path / "north"


def test_an_owner_builds_and_lists_in_one_command(shop: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.fab"
    expected = bundle_sha256(build_bundle())
    assert hushrec("bundle", "--client", shop).exit_code == 1
    found = said("bundle", "--build", made, "--client", shop, "--list")
    assert found == {"sha256": expected, "listed": True}
    assert made.read_bytes() == build_bundle()
    assert said("bundle", made)["sha256"] == expected
    assert said("bundle", OLD, "--client", shop, "--list")["listed"]
    assert Owner.of(shop).policy.bundles == (OLD, expected)


@pytest.mark.parametrize("words", [("--list",), ("some.fab", "--build", "made.fab")])
def test_options_that_contradict_each_other_are_refused(words: tuple[str, ...]) -> None:
    assert hushrec("bundle", *words).exit_code == 2
