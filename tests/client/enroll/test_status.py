"""A client's standing: what is too open, missing, changed or over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from client.enroll.card import CARD
from client.enroll.node_key import NODE_KEY
from client.enroll.standing import client_items
from client.roster_key import ROSTER_KEY
from client.store import POLICY_TOML
from common.enrolment.standing import is_broken
from common.errors import Code
from common.privacy.signing import SigningKey
from tests.client.enroll.shops import (
    enrol_client,
    enrol_server,
    hushrec,
    refusal,
    said,
    write_data,
)


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, Any]:
    write_data(tmp_path)
    server = enrol_server(tmp_path / "server")
    done = enrol_client(tmp_path / "north", "north", server)
    return {"folder": tmp_path / "north", "server": server, "done": done}


def states(folder: Path) -> dict[str, set[str]]:
    """States of each file, by its name."""
    done = hushrec("enroll", "status", folder, "--format", "json")
    found: dict[str, set[str]] = {}
    for item in json.loads(done.stdout)["items"]:
        found.setdefault(Path(item["path"]).name, set()).add(item["state"])
    broken = any(not state <= {"ok", "ends-soon"} for state in found.values())
    assert done.exit_code == (1 if broken else 0)
    return found


def test_all_is_well_and_the_fingerprints_are_there_to_be_read_out(shop: dict[str, Any]) -> None:
    items = said("enroll", "status", shop["folder"])["items"]
    assert {item["state"] for item in items} == {"ok"}
    prints = [item["fingerprint"] for item in items if item["fingerprint"]]
    assert prints == [shop["server"]["fingerprint"], shop["done"]["fingerprint"]]


@pytest.mark.parametrize("name", [".", NODE_KEY, ROSTER_KEY, "events.parquet", POLICY_TOML])
def test_what_others_can_read_is_found(shop: dict[str, Any], name: str) -> None:
    path = shop["folder"] / name
    path.chmod(path.stat().st_mode | 0o040)
    assert "too-open" in states(shop["folder"])[path.name]


@pytest.mark.parametrize("name", [NODE_KEY, ROSTER_KEY, CARD, "ca.pem", "invitation.json"])
def test_what_is_missing_is_found(shop: dict[str, Any], name: str) -> None:
    (shop["folder"] / name).rename(shop["folder"] / "away")
    if name == "invitation.json":  # a folder that enrolment did not make
        assert refusal("enroll", "status", shop["folder"]) == Code.CONFIG_NOT_FOUND
    else:
        assert states(shop["folder"])[name] >= {"missing"}


def test_what_does_not_fit_is_found(shop: dict[str, Any], tmp_path: Path) -> None:
    folder = shop["folder"]
    other = enrol_server(tmp_path / "other")
    roots = (folder / "ca.pem").read_bytes()
    (folder / "ca.pem").write_bytes((tmp_path / "other" / "ca.pem").read_bytes())
    assert "wrong" in states(folder)["invitation.json"]
    (folder / "ca.pem").write_bytes(roots)
    policy = (folder / POLICY_TOML).read_text()
    theirs = policy.replace(shop["server"]["server_key"], other["server_key"])
    (folder / POLICY_TOML).write_text(theirs)
    assert "wrong" in states(folder)[POLICY_TOML]
    (folder / POLICY_TOML).write_text(policy)
    SigningKey.create().save(folder / ROSTER_KEY)
    found = states(folder)
    assert "wrong" in found[POLICY_TOML]
    assert "wrong" in found[CARD]


def test_the_end_of_the_authority_is_seen_coming(shop: dict[str, Any]) -> None:
    day = datetime.now(UTC)
    for days, state, broken in ((3600, "ok", False), (3625, "ends-soon", False)):
        items = client_items(shop["folder"], day + timedelta(days=days))
        assert items is not None
        (found,) = [item for item in items if item.expires is not None]
        assert (found.state, is_broken(items)) == (state, broken)
    items = client_items(shop["folder"], day + timedelta(days=3651))
    assert items is not None
    assert is_broken(items)
    assert "Ask the operator" in next(i.said for i in items if i.state == "expired")
