"""`hushrec roster`: the client's line for everybody's roster, and whether its own policy has it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from client.owner import Owner
from client.roster_key import make_roster_key, renew_roster_key, roster_line
from common.errors import Code, PolicyError
from common.privacy.policy import Policy
from common.privacy.roster import Roster
from common.terminal import Format, FormatOption, finish, print_json

__all__ = ["roster"]

_RENEWED: Final = """\
1. Give the line above to every client on the roster, by a way that does not pass through the
   server.
2. Every client, this one too, puts it in the place of the old line in [roster] of policy.toml,
   and the operator in that of roster.toml.
3. Every client runs `hushrec roster`: all must read the same digest.
4. Start a new job: jobs of the old roster are refused (`policy-roster`) by whoever has the new
   one, and cost what they have cost."""
_STANDINGS: Final = {
    "there is no policy": "policy.toml is missing: put this line into [roster] once there is one.",
    "there is no roster": "policy.toml has no [roster]: this client takes part in no secure sum.",
    "missing": "policy.toml pins a roster without this client: it takes part in no secure sum.",
    "another key": "policy.toml pins another key for this client: it takes part in no secure sum.",
    "pinned": "policy.toml pins this client with this key.",
}


def roster(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    renew: Annotated[
        bool,
        typer.Option("--renew", help="Make a new key; after a backup was put back, always."),
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show the line that every client pins in its policy; the key is made where there is none."""

    def work() -> None:
        owner = Owner.of(client_dir)
        renewed = _renewed(owner) if renew else {}
        found = {**_found(owner), **renewed}
        if output is Format.JSON:
            print_json(found)
        else:
            typer.echo(found["line"])
            if renew:
                typer.echo(_to_do(found), err=True)
            typer.echo(_said(found), err=True)

    finish(work)


def _renewed(owner: Owner) -> dict[str, Any]:
    _, kept = renew_roster_key(owner.folder, datetime.now(UTC).date())
    return {"renewed": True, "old_key": None if kept is None else kept.name}


def _to_do(found: Mapping[str, Any]) -> str:
    kept = found["old_key"]
    before = "There was none before." if kept is None else f"The old one is kept as {kept}."
    return f"{found['client']} has a new roster key. {before}\n{_RENEWED}"


def _found(owner: Owner) -> dict[str, Any]:
    name, public = owner.settings.name, make_roster_key(owner.folder).public
    policy = _policy(owner)
    pinned = Roster.of({} if policy is None else policy.roster)
    return {
        "client": name,
        "roster_key": public,
        "line": roster_line(name, public),
        "standing": _standing(policy, name, public),
        "clients": len(pinned.keys),
        "digest": pinned.digest if pinned.keys else None,
        "colluders": None if policy is None else policy.colluders,
    }


def _policy(owner: Owner) -> Policy | None:
    try:
        return owner.policy
    except PolicyError as error:
        if error.code is not Code.POLICY_MISSING:
            raise
        return None


def _standing(policy: Policy | None, name: str, public: str) -> str:
    if policy is None:
        return "there is no policy"
    if not policy.roster:
        return "there is no roster"
    if name not in policy.roster:
        return "missing"
    return "pinned" if policy.roster[name] == public else "another key"


def _said(found: Mapping[str, Any]) -> str:
    said = _STANDINGS[found["standing"]]
    if found["digest"] is None:
        return said
    return f"{said} Roster of {found['clients']} clients, digest {found['digest']}."
