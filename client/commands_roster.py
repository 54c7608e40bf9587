"""`hushrec roster`: the client's line for everybody's roster, and whether its own policy has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from client.owner import Owner
from client.roster_key import make_roster_key, roster_line
from common.errors import Code, PolicyError
from common.privacy.policy import Policy
from common.privacy.roster import Roster
from common.terminal import Format, FormatOption, finish, print_json

__all__ = ["roster"]

_STANDINGS: Final = {
    "there is no policy": "policy.toml is missing: put this line into [roster] once there is one.",
    "there is no roster": "policy.toml has no [roster]: this client takes part in no secure sum.",
    "missing": "policy.toml pins a roster without this client: it takes part in no secure sum.",
    "another key": "policy.toml pins another key for this client: it takes part in no secure sum.",
    "pinned": "policy.toml pins this client with this key.",
}


def roster(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Show the line that every client pins in its policy; the key is made where there is none."""

    def work() -> None:
        found = _found(Owner.of(client_dir))
        if output is Format.JSON:
            print_json(found)
        else:
            typer.echo(found["line"])
            typer.echo(_said(found), err=True)

    finish(work)


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
