"""`hushrec enroll server`, `add`, `revoke`, `renew server`: what an operator does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from common.certificates import hosts_of
from common.enrolment.cards import Card, Invitation
from common.enrolment.group import Enrolment, FingerprintOption, asked_fingerprint, tell
from common.fingerprints import compare
from common.privacy.roster import Roster
from common.terminal import Format, FormatOption, finish
from server.enroll.begin import begin
from server.enroll.home import INVITATION, REVOKED, TLS
from server.enroll.members import add, register_command, revoke
from server.enroll.renewal import OLD_TLS, renew_server
from server.enroll.standing import server_items

__all__ = ["extend"]


def extend(enrolment: Enrolment) -> None:
    """Add a server's commands."""
    enrolment.app.command("server")(_server)
    enrolment.app.command("add")(_add)
    enrolment.app.command("revoke")(_revoke)
    enrolment.renew.command("server")(_renew)
    enrolment.viewers.append(server_items)


def _server(
    home: Annotated[Path, typer.Argument(help="The server's home, to be made.")],
    host: Annotated[
        list[str], typer.Option(help="Name or IP address of the server; clients use the first.")
    ],
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port that clients connect to.")
    ] = 8443,
    catalogue: Annotated[
        Path | None,
        typer.Option(
            help="catalogue.json or a product file: kept, and the invitation names its version."
        ),
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Begin a server: authority, certificate, keys, and an invitation for clients."""

    def work() -> None:
        made = begin(home, host, port, catalogue=catalogue)
        values = {
            "home": str(home.resolve()),
            "invitation": str(home.resolve() / INVITATION),
            "fingerprint": made.fingerprint,
            "superlink": made.superlink,
            "server_key": made.server,
        }
        tell(output, values, lambda: _begun_lines(home.resolve(), made))

    finish(work)


def _add(
    home: Annotated[Path, typer.Argument(help="The server's home.")],
    card: Annotated[Path, typer.Argument(help="File that the client sent.")],
    fingerprint: FingerprintOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Make a client a member, after its fingerprint was compared."""

    def work() -> None:
        found = Card.load_file(card)
        told = asked_fingerprint(fingerprint, found.name)
        compare(told, found.fingerprint, where=str(card))
        changed, roster = add(home, found)
        command = register_command(home.resolve(), found.name)
        values = _roster_json(roster) | {
            "client": found.name, "changed": changed, "register": command
        }  # fmt: skip
        said = "is a member" if changed else "was a member already"
        lines = [
            f"{found.name} {said}. {_roster_line(roster)}",
            "The server lets its node in after (once `hushrec server login` was run):",
            f"    {command}",
            "Note the id that it prints: Flower lists nodes by id, not by name.",
        ]
        tell(output, values, lambda: lines)

    finish(work)


def _revoke(
    home: Annotated[Path, typer.Argument(help="The server's home.")],
    name: Annotated[str, typer.Argument(help="The client's name.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Take a client out of the roster and the list of nodes; says what the others must do."""

    def work() -> None:
        card, roster = revoke(home, name)
        values = _roster_json(roster) | {"client": card.name, "others": list(roster.keys)}
        tell(output, values, lambda: _revoked_lines(home, card, roster))

    finish(work)


def _renew(
    home: Annotated[Path, typer.Argument(help="The server's home.")],
    host: Annotated[
        list[str] | None, typer.Option(help="Name or IP address; absent: as they were.")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Renew the server's TLS certificate by the same authority; clients need nothing new."""

    def work() -> None:
        made = renew_server(home, host or ())
        last, names = made.not_valid_after_utc.date(), hosts_of(made)
        values = {"certificate": str(home / TLS), "expires": str(last), "hosts": list(names)}
        lines = [
            f"{home / TLS} holds until {last}, for {', '.join(names)}.",
            f"The old one is {home / OLD_TLS}. Start the server again, so that it uses the new.",
        ]
        tell(output, values, lambda: lines)

    finish(work)


def _begun_lines(home: Path, made: Invitation) -> Sequence[str]:
    return [
        f"A server is enrolled in {home}; clients will connect to {made.superlink}.",
        f"Its invitation is {home / INVITATION}, with the fingerprint",
        f"    {made.fingerprint}",
        "Send the file to every client.",
        "Read the fingerprint out to each of them, by telephone or face to face.",
        "Back the folder up, where nobody else can read it.",
    ]


def _revoked_lines(home: Path, card: Card, roster: Roster) -> Sequence[str]:
    others = ", ".join(roster.keys) or "nobody"
    return [
        f"{card.name} is no member any more. {_roster_line(roster)}",
        f"Its card is kept in {home / REVOKED}.",
        "Its node stays connected until Flower is told, by the id that registering it printed.",
        "    flwr supernode list hushrec",
        "    flwr supernode unregister NODE_ID hushrec",
        f"Every other client ({others}) must take it out of its own policy, since no server can:",
        f"    hushrec enroll forget CLIENT_DIR {card.name}",
        "Secure sums go on in a new job, once all of them have this roster.",
    ]


def _roster_json(roster: Roster) -> dict[str, object]:
    return {"roster": dict(roster.keys), "digest": roster.digest}


def _roster_line(roster: Roster) -> str:
    return f"Roster of {len(roster.keys)} clients, digest {roster.digest}."
