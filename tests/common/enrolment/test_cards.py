"""Cards and invitations: signed by the key that they name, and by no other; nothing else passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from common.certificates import certificate_pem, make_authority, new_key
from common.enrolment.cards import Card, Invitation, openssh_line
from common.errors import Code, ConfigError
from common.privacy.signing import SigningKey

KEY, OTHER = SigningKey.create(), SigningKey.create()
NODE = ec.generate_private_key(ec.SECP384R1())
LINE = openssh_line(NODE.public_key())
OTHER_LINE = openssh_line(ec.generate_private_key(ec.SECP256R1()).public_key())
AUTHORITY = certificate_pem(make_authority("a", new_key(), days=3)).decode()
NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True) | st.sampled_from(["Köln", "店"])


def card(name: str = "north", **more: Any) -> Card:
    return Card.signed(
        KEY, **{"name": name, "transport_key": LINE, "roster_key": KEY.public, **more}
    )


def invitation(**more: Any) -> Invitation:
    values = {"superlink": "a.example:8443", "server": KEY.public, "authority": AUTHORITY}
    return Invitation.signed(KEY, **values, **more)


def refusal(path: Path, kind: type[Card | Invitation] = Card) -> Code:
    with pytest.raises(ConfigError) as caught:
        kind.load_file(path)
    return caught.value.code


@given(NAMES)
def test_a_card_comes_back_as_it_was(name: str) -> None:
    made = card(name)
    again = Card.load(json.loads(made.model_dump_json())).checked("here")
    assert again == made
    assert again.fingerprint == made.fingerprint


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    for made in (card(), invitation(catalogue="0" * 64)):
        path = tmp_path / "file.json"
        made.save(path)
        assert type(made).load_file(path) == made
        assert path.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "south"), ("transport_key", OTHER_LINE), ("roster_key", OTHER.public)],
    ids=["name", "transport_key", "roster_key"],
)
def test_whatever_is_changed_in_a_card_is_noticed(tmp_path: Path, field: str, value: str) -> None:
    path = tmp_path / "card.json"
    values = json.loads(card().model_dump_json()) | {field: value}
    path.write_text(json.dumps(values))
    assert refusal(path) is Code.ENROLL_CARD
    assert card(**{field: value} if field != "roster_key" else {}).fingerprint != (
        card().fingerprint if field != "roster_key" else ""
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("superlink", "b.example:8443"),
        ("server", OTHER.public),
        ("authority", certificate_pem(make_authority("a", new_key(), days=3)).decode()),
        ("catalogue", "1" * 64),
    ],
    ids=["superlink", "server", "authority", "catalogue"],
)
def test_whatever_is_changed_in_an_invitation_is_noticed(
    tmp_path: Path, field: str, value: str
) -> None:
    path = tmp_path / "invitation.json"
    path.write_text(json.dumps(json.loads(invitation().model_dump_json()) | {field: value}))
    assert refusal(path, Invitation) is Code.ENROLL_CARD


def test_every_field_is_part_of_the_fingerprint() -> None:
    """Signed anew by its own owner, a changed file still has another fingerprint."""
    other = {"name": "north", "transport_key": LINE, "roster_key": OTHER.public}
    seen = [card(), card("south"), card(transport_key=OTHER_LINE), Card.signed(OTHER, **other)]
    assert len({one.fingerprint for one in seen}) == len(seen)
    again = [invitation(), invitation(catalogue="0" * 64), invitation(catalogue="1" * 64)]
    assert len({one.fingerprint for one in again}) == len(again)


def test_nobody_signs_for_a_key_that_they_do_not_have() -> None:
    with pytest.raises(ConfigError) as caught:
        Card.signed(OTHER, name="north", transport_key=LINE, roster_key=KEY.public)
    assert caught.value.code is Code.ENROLL_CARD


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAv6rcx9ZzSP1T3hPXtZr2MmK6Hy4xMPLOTPSsWyGjQU",
        f"{LINE} a comment",
        f"{LINE}\n",
        f'command="x" {LINE}',
        LINE[:-8],
    ],
    ids=["empty", "ed25519", "comment", "line-end", "options", "cut"],
)
def test_a_node_key_is_one_plain_line_on_a_nist_curve(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        card(transport_key=line)
    assert caught.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize(
    "address", ["", "a.example", "a.example:", "a b:1", "https://a:1", "a:1/x", "::1:80", "a:1\n"]
)
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError):
        Invitation.signed(KEY, superlink=address, server=KEY.public, authority=AUTHORITY)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, Code.CONFIG_NOT_FOUND),
        ("[]", Code.CONFIG_INVALID),
        ("{", Code.CONFIG_INVALID),
        ("{}", Code.CONFIG_INVALID),
        ('{"format": "hushrec-card/2"}', Code.CONFIG_INVALID),
        ('{"more": 1}', Code.CONFIG_UNKNOWN_KEY),
    ],
)
def test_what_is_no_card_is_refused(tmp_path: Path, text: str | None, code: Code) -> None:
    path = tmp_path / "card.json"
    if text is not None:
        path.write_text(text)
    assert refusal(path) is code


@pytest.mark.parametrize(
    "pem", ["no certificate", AUTHORITY * 2, f"{AUTHORITY}more\n"], ids=["none", "two", "more"]
)
def test_an_authority_is_one_certificate(pem: str) -> None:
    """A second one would be believed as well."""
    with pytest.raises(ConfigError):
        Invitation.signed(KEY, superlink="a:1", server=KEY.public, authority=pem)
