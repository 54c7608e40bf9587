"""A merchant enrols: nothing without the fingerprint, everything private, one client that works."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from client.enroll.begin import EVENTS, REJECTED
from client.enroll.card import CARD
from client.enroll.node_key import NODE_KEY, node_line
from client.launcher.__main__ import launch
from client.ledger_key import KEY_NAME
from client.roster_key import ROSTER_KEY, load_roster_key
from client.running.command import run
from client.running.supervisor import node_command
from client.store import POLICY_TOML, ClientStore, read_policy
from common.catalogue import Catalogue
from common.enrolment.cards import Card, Invitation
from common.errors import Code
from tests.client.enroll.shops import (
    client_words,
    enrol_client,
    enrol_server,
    hushrec,
    refusal,
    said,
    write_data,
)
from tests.common.enrolment.units import unit_words, values


@pytest.fixture
def server(tmp_path: Path) -> dict[str, Any]:
    write_data(tmp_path)
    return enrol_server(tmp_path / "server", "--port", "9000")


@pytest.fixture
def north(tmp_path: Path, server: dict[str, Any]) -> Path:
    enrol_client(tmp_path / "north", "north", server)
    return tmp_path / "north"


def test_nothing_is_trusted_on_first_use(tmp_path: Path, server: dict[str, Any]) -> None:
    folder, told = tmp_path / "north", server["fingerprint"]
    words = client_words(folder, "north", server["invitation"])
    first = told[0]
    wrong = f"{(int(first) + 1) % 10}{told[1:]}"
    other = enrol_server(tmp_path / "other")["fingerprint"]
    for given in ("", "12345", wrong, other):
        assert refusal(*words, "--fingerprint", given) == Code.ENROLL_FINGERPRINT
    assert refusal(*words, typed="") == Code.ENROLL_FINGERPRINT
    assert refusal(*words, typed=f"{other}\n") == Code.ENROLL_FINGERPRINT
    assert not folder.exists()


def test_what_would_fit_is_not_shown_before_somebody_typed_it(
    tmp_path: Path, server: dict[str, Any]
) -> None:
    words = client_words(tmp_path / "north", "north", server["invitation"])
    shown = hushrec(*words, typed="\n").output
    assert server["fingerprint"] not in shown
    assert server["fingerprint"].split()[3] not in shown
    done = said(*words, typed=server["fingerprint"].replace(" ", "-") + "\n")
    assert done["client"] == "north"


def test_an_invitation_that_was_changed_on_its_way(tmp_path: Path, server: dict[str, Any]) -> None:
    """By somebody who signs it anew with a key of their own: only the fingerprint tells."""
    theirs = enrol_server(tmp_path / "theirs")
    words = client_words(tmp_path / "north", "north", theirs["invitation"])
    assert refusal(*words, "--fingerprint", server["fingerprint"]) == Code.ENROLL_FINGERPRINT
    path = Path(server["invitation"])
    path.write_text(path.read_text().replace("127.0.0.1:9000", "127.0.0.2:9000"))
    words = client_words(tmp_path / "north", "north", path)
    assert refusal(*words, "--fingerprint", server["fingerprint"]) == Code.ENROLL_CARD


def test_the_folder_is_that_of_a_client(north: Path, server: dict[str, Any]) -> None:
    store = ClientStore.open(north)
    assert store.settings.name == "north"
    assert store.settings.population == 30
    assert not store.settings.simulated
    assert len(store.user_ids) == 30
    assert len(store.catalogue) == 3
    policy = read_policy(north)
    assert (policy.lifetime.epsilon, policy.lifetime.delta) == (8.0, 1e-3)
    assert policy.servers == (server["server_key"],)
    assert policy.bundles == ()
    assert policy.modes == ("local",)
    assert policy.roster == {"north": load_roster_key(north).public}


def test_rows_that_cannot_be_used_are_named(north: Path) -> None:
    faults = pd.read_csv(north / REJECTED)
    assert sorted(zip(faults["row"], faults["reason"], strict=True)) == [
        (92, "unknown-item"),
        (93, "missing"),
    ]
    assert len(pd.read_parquet(north / EVENTS)) == 90


def test_three_different_keys_and_no_ledger_yet(north: Path) -> None:
    roster, node = load_roster_key(north).public, node_line(north)
    assert node.startswith("ecdsa-sha2-nistp384 ")
    load_ssh_private_key((north / NODE_KEY).read_bytes(), None)
    card = Card.load_file(north / CARD)
    assert (card.name, card.roster_key, card.transport_key) == ("north", roster, node)
    assert not (north / KEY_NAME).exists()
    assert not (north / "ledger.sqlite").exists()


def test_nobody_else_can_look_in(north: Path) -> None:
    public = {CARD, "invitation.json", "catalogue.json"}
    for path in [north, *north.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        wide = 0o022 if path.name in public else 0o077
        assert mode & wide == 0, path


def test_what_leaves_holds_no_secret(north: Path) -> None:
    """Neither a private key nor anything about events is in the card."""
    card = json.loads((north / CARD).read_text())
    assert set(card) == {"format", "name", "transport_key", "roster_key", "signature"}
    for secret in (NODE_KEY, ROSTER_KEY):
        lines = (north / secret).read_text().splitlines()[1:-1]
        assert not [line for line in lines if line in (north / CARD).read_text()]


def test_a_catalogue_file_has_to_be_the_invitations(tmp_path: Path) -> None:
    write_data(tmp_path)
    catalogue = Catalogue.read_product_file(tmp_path / "products.csv")
    catalogue.save(tmp_path / "catalogue.json")
    server = enrol_server(tmp_path / "server", "--catalogue", tmp_path / "catalogue.json")
    assert Invitation.load_file(Path(server["invitation"])).catalogue == catalogue.version
    enrol_client(tmp_path / "north", "north", server)
    (tmp_path / "products.csv").write_text("item_id\na\nb\n")
    told = ("--fingerprint", server["fingerprint"])
    words = client_words(tmp_path / "south", "south", server["invitation"], *told)
    assert refusal(*words) == Code.CATALOGUE_MISMATCH
    assert not (tmp_path / "south").exists()


def test_a_catalogue_made_of_events_is_refused(tmp_path: Path, server: dict[str, Any]) -> None:
    Catalogue(("a", "b", "c"), source="derived").save(tmp_path / "catalogue.json")
    words = client_words(tmp_path / "n", "n", server["invitation"])
    more = ("--catalogue", tmp_path / "catalogue.json", "--fingerprint", server["fingerprint"])
    assert refusal(*words, *more) == Code.CATALOGUE_INVALID


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--delta", "0.5", Code.PLAN_DELTA),
        ("--delta", "0", Code.CONFIG_INVALID),
        ("--epsilon", "-1", Code.CONFIG_INVALID),
        ("--epsilon", "nan", Code.CONFIG_INVALID),
        ("--population", "0", Code.CONFIG_INVALID),
        ("--mode", "central", Code.CONFIG_INVALID),
        ("--colluders", "0", Code.CONFIG_INVALID),
        ("--dataset-id", "mine", Code.CONFIG_INVALID),
        ("--data", "nowhere.csv", Code.DATA_NOT_FOUND),
    ],
)
def test_what_cannot_be_meant_leaves_nothing(
    tmp_path: Path, server: dict[str, Any], option: str, value: str, code: Code
) -> None:
    words = client_words(tmp_path / "n", "n", server["invitation"], option, value)
    assert refusal(*words, "--fingerprint", server["fingerprint"]) == code
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "x" * 65])
def test_a_name_is_plain(tmp_path: Path, server: dict[str, Any], name: str) -> None:
    words = client_words(tmp_path / "n", name, server["invitation"])
    assert refusal(*words, "--fingerprint", server["fingerprint"]) == Code.CONFIG_INVALID


def test_nobody_enrols_twice_in_one_folder(north: Path, server: dict[str, Any]) -> None:
    before = {path: path.read_bytes() for path in north.rglob("*") if path.is_file()}
    words = client_words(north, "north", server["invitation"])
    assert refusal(*words, "--fingerprint", server["fingerprint"]) == Code.ENROLL_EXISTS
    assert {path: path.read_bytes() for path in north.rglob("*") if path.is_file()} == before


def test_a_data_set_keeps_its_identity(tmp_path: Path, server: dict[str, Any]) -> None:
    first = enrol_client(tmp_path / "north", "north", server)
    again = enrol_client(tmp_path / "n2", "north", server, "--dataset-id", first["dataset_id"])
    other = enrol_client(tmp_path / "n3", "north", server)
    assert first["dataset_id"] == again["dataset_id"] != other["dataset_id"]
    assert ClientStore.open(tmp_path / "n2").settings.dataset_id == first["dataset_id"]


def test_the_unit_starts_what_finds_the_rest_in_the_folder(north: Path) -> None:
    (unit,) = (north / "start").glob("*.service")
    words = unit_words(values(unit.read_text(), "ExecStart")[0])
    assert words[1:4] == ["-I", "-m", "client.running"]
    app = typer.Typer()
    app.command()(run)
    found = typer.main.get_command(app).make_context("running", words[4:]).params
    assert found["client_dir"] == str(north.resolve())
    assert found["superlink"] is None
    assert Invitation.load_file(north / "invitation.json").superlink == "127.0.0.1:9000"
    node = node_command(north.resolve(), "127.0.0.1:9000", 3.0)
    app = typer.Typer()
    app.command()(launch)
    found = typer.main.get_command(app).make_context("launcher", list(node[4:])).params
    assert found["superlink"] == "127.0.0.1:9000"
    assert found["root_certificates"] == str(north.resolve() / "ca.pem")
    assert found["key"] == str(north.resolve() / NODE_KEY)
    for option in ("root_certificates", "key"):
        assert Path(found[option]).is_file()


def test_lost_node_keys_are_replaced_and_kept(north: Path) -> None:
    before, roster = node_line(north), load_roster_key(north).public
    done = said("enroll", "renew", "client", north)
    card = Card.load_file(north / CARD)
    assert done["fingerprint"] == card.fingerprint
    assert card.transport_key == node_line(north) != before
    assert card.roster_key == roster
    old = Path(done["old_key"])
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert said("enroll", "status", north)["broken"] is False


def test_a_new_roster_key_needs_a_new_card_and_a_new_line(north: Path) -> None:
    node = node_line(north)
    said("roster", north, "--renew")
    key = load_roster_key(north).public
    assert hushrec("enroll", "status", north).exit_code == 1
    done = said("enroll", "renew", "client", north, "--card-only")
    assert done["old_key"] is None
    card = Card.load_file(north / CARD)
    assert (card.roster_key, card.transport_key) == (key, node)
    told = ("--fingerprint", done["fingerprint"], "--replace")
    said("enroll", "peer", north, north / CARD, *told)
    assert read_policy(north).roster == {"north": key}
    assert hushrec("enroll", "status", north).exit_code == 0


def test_the_policy_is_toml_with_comments(north: Path) -> None:
    text = (north / POLICY_TOML).read_text()
    assert tomllib.loads(text)["modes"] == ["local"]
    assert text.count("#") >= 5
