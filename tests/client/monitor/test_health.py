"""`/health`: what is well, what is not, and by which code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.monitor.health import health, health_page
from client.monitor.reading import Watched
from client.running.state import ENDED, PartState
from common.public_codes import OF_DATA
from tests.client.monitor.watching import watched, write_authority
from tests.conftest import Shop


@pytest.fixture(name="well")
def well_fixture(shop: Shop) -> Watched:
    """A client that was asked once, and is well."""
    write_authority(shop.folder)
    shop.allow_much()
    shop.ask(shop.task(0))
    return watched(shop.folder)


def folder(well: Watched) -> Path:
    return well.owner.folder


def test_a_client_that_is_well_says_so(well: Watched) -> None:
    page = health_page(well)
    assert page.status == 200
    assert json.loads(page.body) == health(well)
    assert health(well) == {
        "status": "ok",
        "client": well.owner.settings.name,
        "node": {"state": "ready", "code": None, "restarts": 0},
        "service": {"state": "ready", "code": None, "restarts": 0},
        "policy": {"readable": True, "code": None},
        "ledger": {"readable": True, "code": None},
        "authority": {"readable": True, "code": None, "days_left": 3649},
        "model": None,
    }


def test_a_server_that_is_away_is_no_failure_of_the_client(well: Watched) -> None:
    well.parts.node.heard({"state": "away", "code": "server-unreachable"})
    assert health(well)["status"] == "ok"
    assert health(well)["node"]["code"] == "server-unreachable"
    well.parts.node.heard({"state": "ready"})
    assert health(well)["node"] == {"state": "ready", "code": None, "restarts": 0}


@pytest.mark.parametrize("being", ["starting", "waiting", "ended"])
@pytest.mark.parametrize("name", ["node", "service"])
def test_a_part_without_a_process_is_one(well: Watched, name: str, being: str) -> None:
    setattr(getattr(well.parts, name), "being", being)  # noqa: B010
    assert health_page(well).status == 503


def test_a_policy_that_cannot_be_read_is_one(well: Watched) -> None:
    (folder(well) / "policy.toml").unlink()
    assert health(well)["policy"] == {"readable": False, "code": "policy-missing"}
    assert health_page(well).status == 503


def test_a_broken_ledger_is_one(well: Watched) -> None:
    (folder(well) / "ledger.sqlite").write_bytes(b"no ledger")
    assert health(well)["ledger"]["code"] == "ledger-broken"
    assert health_page(well).status == 503


def test_an_old_ledger_is_one(well: Watched, shop: Shop) -> None:
    with shop.ledger() as ledger:
        ledger.append("halt", {"seq": 1, "head": "0" * 64, "server": None})
    assert health(well)["ledger"] == {"readable": False, "code": "ledger-rolled-back"}


def test_a_ledger_is_looked_at_whatever_the_policy_is(well: Watched, shop: Shop) -> None:
    (folder(well) / "policy.toml").rename(folder(well) / "away")
    assert health(well)["ledger"] == {"readable": True, "code": None}
    with shop.ledger() as ledger:
        ledger.append("halt", {"seq": 1, "head": "0" * 64, "server": None})
    assert health(well)["ledger"] == {"readable": False, "code": "ledger-rolled-back"}
    (folder(well) / "ledger.sqlite").write_bytes(b"no ledger")
    found = health(well)
    assert found["policy"] == {"readable": False, "code": "policy-missing"}
    assert found["ledger"] == {"readable": False, "code": "ledger-broken"}
    (folder(well) / "ledger.sqlite").unlink()
    assert health(well)["ledger"] == {"readable": False, "code": "ledger-missing"}


def test_an_authority_that_is_over_is_one(well: Watched) -> None:
    write_authority(folder(well), days=1, age_days=1)
    found = health(well)
    assert found["authority"] == {"readable": True, "code": None, "days_left": -1}
    assert found["status"] == "failing"
    (folder(well) / "ca.pem").write_text("none")
    assert health(well)["authority"]["code"] == "certificate-invalid"


def test_codes_leave_as_they_leave_the_client() -> None:
    part = PartState()
    for code in OF_DATA:
        part.heard({"event": ENDED, "code": str(code)})
        assert part.code == "client-unready"
    part.heard({"event": ENDED, "code": "Ada Lovelace"})
    assert part.code is None
    part.heard({"event": "refused", "code": "policy-bundle"})
    assert part.code is None


def test_a_reading_is_used_for_a_moment(well: Watched) -> None:
    kept = Watched(well.owner, well.parts, fresh_seconds=1000.0)
    first = kept.reading()
    (folder(well) / "policy.toml").unlink()
    assert kept.reading() is first
