"""An operator enrols a server and clients: private, whole, and a TLS that a client accepts."""

from __future__ import annotations

import json
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.cli.supernode.register import try_load_public_key
from flwr.supercore.auth import load_superexec_auth_secret
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from common.address import Address
from common.certificates import key_pem, load_certificate, new_key
from common.config import read_toml
from common.enrolment.cards import Card, Invitation, openssh_line
from common.errors import Code
from common.privacy.roster import Roster
from common.privacy.signing import SigningKey
from server.commands_gateway import run
from server.enroll.home import CA, CA_KEY, CARDS, NODES, PRIVATE, REVOKED, ROSTER, TLS, TLS_KEY
from server.enroll.renewal import OLD_TLS, renew_server
from server.gateway.folder import ServerFolder
from server.keys import SERVER_KEY, server_key
from tests.client.enroll.shops import enrol_server, hushrec, refusal, said
from tests.common.enrolment.units import unit_words, values
from tests.common.tls import handshake


@pytest.fixture
def home(tmp_path: Path) -> Path:
    enrol_server(tmp_path / "server")
    return tmp_path / "server"


def card(path: Path, name: str, **keys: Any) -> dict[str, Any]:
    """A client's card, in a file."""
    key = keys.get("roster") or SigningKey.create()
    node = keys.get("node") or ec.generate_private_key(ec.SECP384R1())
    line = openssh_line(node.public_key())
    made = Card.signed(key, name=name, transport_key=line, roster_key=key.public)
    made.save(path)
    return {"path": path, "told": ("--fingerprint", made.fingerprint), "card": made, "node": node}


def connect(home: Path, to: str = "127.0.0.1") -> bytes:
    """As a client with the invitation would."""
    authority = home.parent / "roots.pem"
    authority.write_text(Invitation.load_file(home / "invitation.json").authority)
    return handshake(home / TLS, home / TLS_KEY, authority, to)[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_client_with_the_invitation_believes_the_server(home: Path, host: str) -> None:
    assert connect(home, host) == b"hello"


def test_nobody_else_believes_another_server(home: Path, tmp_path: Path) -> None:
    enrol_server(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path / "other" / TLS, tmp_path / "other" / TLS_KEY, home / CA, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(home, "shop.example")


def test_the_home_is_private_and_its_keys_are_different(home: Path) -> None:
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in PRIVATE:
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert len({(home / name).read_bytes() for name in PRIVATE}) == len(PRIVATE)
    secret = load_superexec_auth_secret(str(home / "superexec.secret"))
    assert secret is not None
    assert len(secret) == 64


def test_the_servers_key_is_that_of_its_runs(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUSHREC_SERVER_HOME", str(home))
    invitation = Invitation.load_file(home / "invitation.json")
    assert server_key(tmp_path / "run").public == invitation.server
    assert SigningKey.load(home / SERVER_KEY).public == invitation.server


def test_no_home_is_replaced(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert refusal("enroll", "server", home, "--host", "a") == Code.ENROLL_EXISTS
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("host", ["", "a b", "https://a", "a:1", "*.a"])
def test_a_host_that_is_none_leaves_nothing(tmp_path: Path, host: str) -> None:
    assert refusal("enroll", "server", tmp_path / "s", "--host", host) == Code.CONFIG_INVALID
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_unit_starts_the_gateway_with_what_it_takes(tmp_path: Path, host: str) -> None:
    home = tmp_path / "server"
    said("enroll", "server", home, "--host", host)
    (unit,) = (home / "start").glob("*.service")
    words = unit_words(values(unit.read_text(), "ExecStart")[0])
    assert words[1:4] == ["-I", "-m", "server.gateway"]
    app = typer.Typer()
    app.command()(run)
    found = typer.main.get_command(app).make_context("gateway", words[4:]).params
    assert found["folder"] == str(home.resolve())
    assert Address.read(found["listen"]).port == 8443
    assert Address.read(found["listen"]).host == {"127.0.0.1": "0.0.0.0", "::1": "::"}[host]
    folder = ServerFolder.opened(home)
    assert folder.superexec_secret == home.resolve() / "superexec.secret"
    known = [unit_words(value)[0] for value in values(unit.read_text(), "Environment")]
    assert f"HUSHREC_SERVER_HOME={home.resolve()}" in known


def test_a_member_is_added_after_its_fingerprint_was_compared(home: Path, tmp_path: Path) -> None:
    north = card(tmp_path / "north.json", "north")
    south = card(tmp_path / "south.json", "south")
    words = ("enroll", "add", home, north["path"])
    assert refusal(*words, *south["told"]) == Code.ENROLL_FINGERPRINT
    assert refusal(*words, typed="") == Code.ENROLL_FINGERPRINT
    assert not list((home / CARDS).iterdir())
    done = said(*words, *north["told"])
    assert done["changed"] is True
    assert read_toml(home / ROSTER) == {"roster": {"north": north["card"].roster_key}}
    assert said(*words, *north["told"])["changed"] is False
    both = said("enroll", "add", home, south["path"], *south["told"])
    cards = {one["card"].name: one["card"].roster_key for one in (north, south)}
    assert both["digest"] == Roster.of(cards).digest


def test_flower_takes_a_members_key(home: Path, tmp_path: Path) -> None:
    north = card(tmp_path / "north.json", "north")
    said("enroll", "add", home, north["path"], *north["told"])
    taken = try_load_public_key(home / NODES / "north.pub")
    assert taken == public_key_to_bytes(north["node"].public_key())


def test_no_two_members_share_a_name_or_a_key(home: Path, tmp_path: Path) -> None:
    roster = SigningKey.create()
    north = card(tmp_path / "north.json", "north", roster=roster)
    said("enroll", "add", home, north["path"], *north["told"])
    for file, name, keys, code in (
        ("name", "north", {}, Code.ENROLL_EXISTS),
        ("roster", "south", {"roster": roster}, Code.ENROLL_CARD),
        ("node", "south", {"node": north["node"]}, Code.ENROLL_CARD),
    ):
        other = card(tmp_path / f"{file}.json", name, **keys)
        assert refusal("enroll", "add", home, other["path"], *other["told"]) == code
    assert [path.name for path in (home / CARDS).iterdir()] == ["north.json"]


def test_a_revoked_member_is_out_and_may_come_back_with_new_keys(
    home: Path, tmp_path: Path
) -> None:
    north, south = (card(tmp_path / f"{n}.json", n) for n in ("north", "south"))
    for one in (north, south):
        said("enroll", "add", home, one["path"], *one["told"])
    done = hushrec("enroll", "revoke", home, "north")
    assert "hushrec enroll forget CLIENT_DIR north" in done.stdout
    assert "(south)" in done.stdout
    assert read_toml(home / ROSTER) == {"roster": {"south": south["card"].roster_key}}
    assert [path.name for path in (home / NODES).iterdir()] == ["south.pub"]
    (kept,) = (home / REVOKED).iterdir()
    assert Card.load_file(kept) == north["card"]
    assert refusal("enroll", "revoke", home, "north") == Code.CONFIG_INVALID
    again = card(tmp_path / "again.json", "north")
    assert said("enroll", "add", home, again["path"], *again["told"])["changed"] is True
    assert said("enroll", "status", home)["broken"] is False


def test_a_renewed_certificate_is_believed_without_anything_new(home: Path) -> None:
    old = load_certificate(home / TLS)
    key = (home / TLS_KEY).read_bytes()
    done = said("enroll", "renew", "server", home)
    assert done["hosts"] == ["127.0.0.1", "localhost"]
    assert load_certificate(home / TLS) != old
    assert load_certificate(home / OLD_TLS) == old
    assert (home / TLS_KEY).read_bytes() == key
    assert connect(home) == b"hello"
    assert handshake(home / OLD_TLS, home / TLS_KEY, home / CA, "127.0.0.1")[0] == b"hello"


def test_a_renewed_certificate_may_have_other_hosts_and_another_key(home: Path) -> None:
    key = (home / TLS_KEY).read_bytes()
    (home / TLS_KEY).unlink()
    said("enroll", "renew", "server", home, "--host", "shop.example")
    assert (home / TLS_KEY).read_bytes() != key
    assert stat.S_IMODE((home / TLS_KEY).stat().st_mode) == 0o600
    assert connect(home, "shop.example") == b"hello"
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(home, "localhost")


def test_an_expired_certificate_is_told_refused_and_renewed(home: Path) -> None:
    renew_server(home, now=datetime.now(UTC) - timedelta(days=390))
    done = hushrec("enroll", "status", home)
    assert done.exit_code == 0
    assert f"ends-soon  {home / TLS}" in done.stdout
    renew_server(home, now=datetime.now(UTC) - timedelta(days=400))
    done = hushrec("enroll", "status", home)
    assert done.exit_code == 1
    assert f"expired    {home / TLS}" in done.stdout
    assert "hushrec enroll renew server" in done.stdout
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        connect(home)
    said("enroll", "renew", "server", home)
    assert connect(home) == b"hello"
    assert hushrec("enroll", "status", home).exit_code == 0


@pytest.mark.parametrize("name", [".", TLS_KEY, CA_KEY, SERVER_KEY, "superexec.secret"])
def test_status_finds_what_others_can_read(home: Path, name: str) -> None:
    path = home / name
    path.chmod(path.stat().st_mode | 0o050)
    done = hushrec("enroll", "status", home)
    assert done.exit_code == 1
    assert "too-open" in done.stdout
    path.chmod(path.stat().st_mode & ~0o077)
    assert hushrec("enroll", "status", home).exit_code == 0


def test_status_finds_what_others_can_write(home: Path) -> None:
    (home / ROSTER).chmod(0o666)
    assert hushrec("enroll", "status", home).exit_code == 1


@pytest.mark.parametrize("name", [*PRIVATE, CA, TLS])
def test_status_finds_what_is_missing_or_of_another_server(
    home: Path, tmp_path: Path, name: str
) -> None:
    other = tmp_path / "other"
    enrol_server(other)
    own = (home / name).read_bytes()
    if name != "superexec.secret":  # one secret is as good as another
        (home / name).write_bytes((other / name).read_bytes())
        found = said_broken(home)
        assert "wrong" in {item["state"] for item in found["items"]}
    (home / name).unlink()
    assert "missing" in {item["state"] for item in said_broken(home)["items"]}
    (home / name).write_bytes(own)


def said_broken(home: Path) -> dict[str, Any]:
    done = hushrec("enroll", "status", home, "--format", "json")
    assert done.exit_code == 1, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["broken"] is True
    return found


def test_where_no_server_was_enrolled(tmp_path: Path) -> None:
    north = card(tmp_path / "north.json", "north")
    for words in (
        ("enroll", "add", tmp_path, north["path"], *north["told"]),
        ("enroll", "revoke", tmp_path, "north"),
        ("enroll", "renew", "server", tmp_path),
        ("enroll", "status", tmp_path),
    ):
        assert refusal(*words) == Code.CONFIG_NOT_FOUND


def test_an_authority_without_its_key_signs_nothing(home: Path) -> None:
    (home / CA_KEY).write_bytes(key_pem(new_key()))
    before = (home / TLS).read_bytes()
    assert refusal("enroll", "renew", "server", home) == Code.CERTIFICATE_INVALID
    assert (home / TLS).read_bytes() == before
