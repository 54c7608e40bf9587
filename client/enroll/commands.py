"""`hushrec enroll client`, `peer`, `forget`, `renew client`: what a merchant does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from client.enroll.begin import REJECTED, Enrolled, Wish, enrol
from client.enroll.card import CARD
from client.enroll.peers import forget_peer, pin_peer
from client.enroll.renewal import renew_client
from client.enroll.standing import client_items
from common.enrolment.cards import Card, Invitation
from common.enrolment.group import Enrolment, FingerprintOption, asked_fingerprint, tell
from common.fingerprints import compare
from common.privacy.roster import Roster
from common.terminal import Format, FormatOption, finish

__all__ = ["extend"]


def extend(enrolment: Enrolment) -> None:
    """Add a client's commands."""
    enrolment.app.command("client")(_client)
    enrolment.app.command("peer")(_peer)
    enrolment.app.command("forget")(_forget)
    enrolment.renew.command("client")(_renew)
    enrolment.viewers.append(client_items)


def _client(
    name: Annotated[str, typer.Argument(help="How the client is called in the federation.")],
    client_dir: Annotated[Path, typer.Argument(help="Its folder, to be made.")],
    invitation: Annotated[Path, typer.Option(help="File that the operator sent.")],
    data: Annotated[Path, typer.Option(help="The shop's events.")],
    catalogue: Annotated[Path, typer.Option(help="catalogue.json or a product file.")],
    population: Annotated[int, typer.Option(help="Declared number of users, a round figure.")],
    epsilon: Annotated[float, typer.Option(help="ε that all releases may ever cost.")],
    delta: Annotated[float, typer.Option(help="δ at which that holds.")],
    mode: Annotated[
        list[str] | None, typer.Option(help="local | distributed; may be given twice.")
    ] = None,
    colluders: Annotated[
        int, typer.Option(help="Fewest colluders that a secure sum must withstand.")
    ] = 1,
    dataset_id: Annotated[
        str | None, typer.Option(help="Of an earlier enrolment with the same events.")
    ] = None,
    fingerprint: FingerprintOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Join a federation: make keys, policy, card and start files of an invitation."""
    values = {"name": name, "population": population, "epsilon": epsilon, "delta": delta}
    more = {"modes": tuple(mode or ("local",)), "colluders": colluders, "dataset_id": dataset_id}

    def work() -> None:
        wish = Wish.load({**values, **more}, where="options")
        asked = Invitation.load_file(invitation)
        told = asked_fingerprint(fingerprint, "the operator")
        compare(told, asked.fingerprint, where=str(invitation))
        done = enrol(wish, client_dir, asked, data, catalogue)
        tell(output, _enrolled_json(done), lambda: _enrolled_lines(done))

    finish(work)


def _peer(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    card: Annotated[Path, typer.Argument(help="File that the peer sent.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another key pinned under the name.")
    ] = False,
    fingerprint: FingerprintOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Pin another client in the policy's roster, after its fingerprint was compared."""

    def work() -> None:
        found = Card.load_file(card)
        told = asked_fingerprint(fingerprint, found.name)
        compare(told, found.fingerprint, where=str(card))
        changed, roster = pin_peer(client_dir, found, replace=replace)
        said = f"{found.name} is pinned" if changed else f"{found.name} was pinned already"
        _tell_roster(output, said, changed, roster)

    finish(work)


def _forget(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    name: Annotated[str, typer.Argument(help="The peer's name.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Take a peer out of the policy's roster."""

    def work() -> None:
        roster = forget_peer(client_dir, name)
        _tell_roster(output, f"{name} is pinned no more", True, roster)

    finish(work)


def _renew(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    card_only: Annotated[
        bool, typer.Option("--card-only", help="A new card of the keys that are there.")
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Make a new node key and card; the old key stays under another name."""

    def work() -> None:
        card, kept = renew_client(client_dir, card_only=card_only)
        old = None if kept is None else str(kept)
        values = {"card": str(client_dir / CARD), "fingerprint": card.fingerprint, "old_key": old}
        lines = [
            f"New card {client_dir / CARD}, fingerprint",
            f"    {card.fingerprint}",
            "Hand it to the operator, who revokes the old one and adds this.",
            "Peers pin it anew if the roster key is new, else they do nothing.",
            "Then start the node again.",
            *([] if old is None else [f"The old key is {old}: delete it when the new one works."]),
        ]
        tell(output, values, lambda: lines)

    finish(work)


def _tell_roster(output: Format, said: str, changed: bool, roster: Roster) -> None:
    values = {"changed": changed, "roster": dict(roster.keys), "digest": roster.digest}
    line = f"{said}. Roster of {len(roster.keys)} clients, digest {roster.digest}."
    tell(output, values, lambda: [line])


def _enrolled_json(done: Enrolled) -> dict[str, Any]:
    return {
        "client": done.card.name,
        "folder": str(done.folder),
        "card": str(done.folder / CARD),
        "fingerprint": done.card.fingerprint,
        "roster_key": done.card.roster_key,
        "dataset_id": done.dataset_id,
        "events": done.events,
        "set_aside": done.set_aside,
        "start_files": [str(path) for path in done.start_files],
    }


def _enrolled_lines(done: Enrolled) -> Sequence[str]:
    aside = f" They are in {done.folder / REJECTED}." if done.set_aside else ""
    return [
        f"{done.card.name} is enrolled in {done.folder}, with {done.events} events.",
        f"{done.reasons}{aside}",
        f"Its card is {done.folder / CARD}, with the fingerprint",
        f"    {done.card.fingerprint}",
        "Send the card to the operator and the other clients.",
        "Read the fingerprint out to each of them, by telephone or face to face.",
        "Then list the bundle in policy.toml, and start the node by one of:",
        *(f"    {path}" for path in done.start_files),
        "Enrol once: a second enrolment of the same events would spend their budget again.",
    ]
