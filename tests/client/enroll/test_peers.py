"""Peers are pinned after a comparison, one line each, and never in the place of another key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from client.enroll.peers import pin_peer
from client.store import POLICY_TOML, read_policy
from common.enrolment.cards import Card, openssh_line
from common.errors import Code
from common.privacy.roster import Roster
from common.privacy.signing import SigningKey
from tests.client.enroll.shops import enrol_client, enrol_server, refusal, said, write_data


@pytest.fixture
def shops(tmp_path: Path) -> dict[str, dict[str, Any]]:
    write_data(tmp_path)
    server = enrol_server(tmp_path / "server")
    more = ("--mode", "distributed", "--mode", "local")
    return {n: enrol_client(tmp_path / n, n, server, *more) for n in ("north", "south", "east")}


def pin(into: dict[str, Any], peer: dict[str, Any], *more: object) -> dict[str, Any]:
    told = ("--fingerprint", peer["fingerprint"])
    return said("enroll", "peer", into["folder"], peer["card"], *told, *more)


def stranger(path: Path, name: str, key: SigningKey | None = None) -> dict[str, Any]:
    """A card of somebody else."""
    key = key or SigningKey.create()
    line = openssh_line(ec.generate_private_key(ec.SECP384R1()).public_key())
    card = Card.signed(key, name=name, transport_key=line, roster_key=key.public)
    card.save(path)
    return {"card": str(path), "fingerprint": card.fingerprint, "roster_key": key.public}


def test_all_clients_come_to_one_roster(shops: dict[str, dict[str, Any]]) -> None:
    digests = set()
    for one in shops.values():
        for peer in shops.values():
            digest = pin(one, peer)["digest"]
        digests.add(digest)
    assert len(digests) == 1
    everybody = Roster.of({name: one["roster_key"] for name, one in shops.items()})
    assert digests == {everybody.digest}
    for one in shops.values():
        assert read_policy(Path(one["folder"])).roster == dict(everybody.keys)
        assert said("enroll", "status", one["folder"])["broken"] is False
        assert said("roster", one["folder"])["standing"] == "pinned"


def test_a_peer_that_was_not_compared_is_not_pinned(shops: dict[str, dict[str, Any]]) -> None:
    north, south, east = shops.values()
    policy = Path(north["folder"]) / POLICY_TOML
    before = policy.read_bytes()
    words = ("enroll", "peer", north["folder"], south["card"])
    told = ("--fingerprint", east["fingerprint"])
    assert refusal(*words, *told) == Code.ENROLL_FINGERPRINT
    assert refusal(*words, typed="") == Code.ENROLL_FINGERPRINT
    assert policy.read_bytes() == before


def test_the_same_card_again_changes_nothing(shops: dict[str, dict[str, Any]]) -> None:
    north, south, _ = shops.values()
    assert pin(north, south)["changed"] is True
    policy = Path(north["folder"]) / POLICY_TOML
    before = (policy.read_bytes(), policy.stat().st_ino)
    assert pin(north, south)["changed"] is False
    assert (policy.read_bytes(), policy.stat().st_ino) == before


def test_another_key_needs_a_word(tmp_path: Path, shops: dict[str, dict[str, Any]]) -> None:
    north, south, _ = shops.values()
    pin(north, south)
    other = stranger(tmp_path / "other.json", "south")
    words = ("enroll", "peer", north["folder"], other["card"], "--fingerprint")
    assert refusal(*words, other["fingerprint"]) == Code.ENROLL_EXISTS
    assert pin(north, other, "--replace")["roster"]["south"] == other["roster_key"]


def test_nobody_takes_this_clients_name_or_a_peers_key(
    tmp_path: Path, shops: dict[str, dict[str, Any]]
) -> None:
    north, south, _ = shops.values()
    pin(north, south)
    same_name = stranger(tmp_path / "name.json", "north")
    words = ("enroll", "peer", north["folder"])
    told = ("--fingerprint", same_name["fingerprint"], "--replace")
    assert refusal(*words, same_name["card"], *told) == Code.ENROLL_CARD
    own = SigningKey.load(Path(south["folder"]) / "roster_key.pem")
    same_key = stranger(tmp_path / "key.json", "west", own)
    told = ("--fingerprint", same_key["fingerprint"])
    assert refusal(*words, same_key["card"], *told) == Code.POLICY_ROSTER


def test_a_peer_is_forgotten_and_the_policy_is_what_it_was(
    shops: dict[str, dict[str, Any]],
) -> None:
    north, south, _ = shops.values()
    policy = Path(north["folder"]) / POLICY_TOML
    before = policy.read_bytes()
    pin(north, south)
    assert policy.read_bytes() != before
    said("enroll", "forget", north["folder"], "south")
    assert policy.read_bytes() == before
    assert policy.stat().st_mode & 0o777 == 0o600
    for name in ("south", "north", "nobody"):
        assert refusal("enroll", "forget", north["folder"], name) == Code.CONFIG_INVALID


def test_a_policy_that_cannot_be_edited_stays(
    tmp_path: Path, shops: dict[str, dict[str, Any]]
) -> None:
    north, south, _ = shops.values()
    policy = Path(north["folder"]) / POLICY_TOML
    text = policy.read_text().partition("[roster]")[0].partition("[lifetime]")
    inline = f'{text[0]}roster = {{ north = "{north["roster_key"]}" }}\n[lifetime]{text[2]}'
    policy.write_text(inline)
    words = ("enroll", "peer", north["folder"], south["card"], "--fingerprint")
    assert refusal(*words, south["fingerprint"]) == Code.CONFIG_INVALID
    assert policy.read_text() == inline
    policy.unlink()
    assert refusal(*words, south["fingerprint"]) == Code.POLICY_MISSING


def test_the_function_under_the_command_says_whether_it_changed(
    shops: dict[str, dict[str, Any]],
) -> None:
    north, south, _ = shops.values()
    card = Card.load_file(Path(south["card"]))
    assert pin_peer(Path(north["folder"]), card)[0]
    changed, roster = pin_peer(Path(north["folder"]), card)
    assert not changed
    assert roster.names == ("north", "south")


def test_who_is_pinned_at_the_same_time_is_pinned(
    tmp_path: Path, shops: dict[str, dict[str, Any]]
) -> None:
    """Each edit begins with what the one before wrote."""
    folder = Path(shops["north"]["folder"])
    names = [f"peer-{number}" for number in range(8)]
    cards = [Card.load_file(Path(stranger(tmp_path / n, n)["card"])) for n in names]
    with ThreadPoolExecutor(8) as pool:
        assert all(changed for changed, _ in pool.map(lambda c: pin_peer(folder, c), cards))
    assert set(read_policy(folder).roster) == {"north", *names}


def test_a_folder_that_is_none_is_said_so(tmp_path: Path, shops: dict[str, dict[str, Any]]) -> None:
    told = ("--fingerprint", shops["south"]["fingerprint"])
    words = ("enroll", "peer", tmp_path / "nowhere", shops["south"]["card"], *told)
    assert refusal(*words) == Code.CONFIG_NOT_FOUND
    assert refusal("enroll", "forget", tmp_path / "nowhere", "south") == Code.CONFIG_NOT_FOUND
