"""The real programs, started, found by their addresses, killed, and back again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigError
from simulations.deployment.demo import Demo, lay_out
from simulations.deployment.layout import Layout, loopback
from simulations.deployment.processes import until
from simulations.deployment.topology import SERVER, Federation, Pace
from tests.client.enroll.shops import said

PATIENCE = 120.0


@pytest.fixture(scope="module")
def federation(laid_out: Path) -> Iterator[Federation]:
    with Federation(laid_out, Pace(restart_seconds=0.2)) as found:
        found.start()
        yield found


def accesses(federation: Federation, name: str) -> list[dict[str, object]]:
    """Requests that came from a shop's address."""
    lines = (federation.places.server / "access.jsonl").read_text().splitlines()
    address = federation.layout.shops[name].host
    return [one for one in map(json.loads, lines) if one["remote"] == address]


def test_every_shop_comes_from_an_address_of_its_own(federation: Federation) -> None:
    assert federation.control.online() == {"north", "south"}
    for name in federation.shops:
        assert any(one["path"] == "/v1/fleet/activate-node" for one in accesses(federation, name))


def test_what_enrolment_left_is_in_order(federation: Federation) -> None:
    for folder in (federation.places.server, *map(federation.places.shop, federation.shops)):
        assert said("enroll", "status", folder)["broken"] is False


def test_a_server_that_was_killed_is_back_and_hears_its_shops(federation: Federation) -> None:
    before = federation.processes.starts(SERVER)
    federation.processes.kill(SERVER)
    until(lambda: federation.processes.starts(SERVER) > before, "a second start", PATIENCE)
    federation.wait_server()
    heard = len(accesses(federation, "north"))
    until(lambda: len(accesses(federation, "north")) > heard, "north to come again", PATIENCE)


def test_a_shop_whose_connections_are_cut_comes_again(federation: Federation) -> None:
    federation.relays.by_name["south"].cut()
    heard = len(accesses(federation, "south"))
    until(lambda: len(accesses(federation, "south")) > heard, "south to come again", PATIENCE)
    assert federation.processes.starts("south") == 1


def test_a_folder_that_is_in_use_is_left_alone(laid_out: Path) -> None:
    with pytest.raises(ConfigError, match="already"):
        lay_out(laid_out, Demo())
    assert len(Layout.load_folder(laid_out).shops) == 2


def test_addresses_are_distinct_for_as_many_shops_as_anybody_lays_out() -> None:
    assert len({loopback(number) for number in range(1000)}) == 1000
    assert all(int(part) < 255 for n in range(1000) for part in loopback(n).split("."))
