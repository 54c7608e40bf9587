"""A client's folder from an invitation, the shop's events and what its owner allows.

Guarantee:
    Nothing is written before the invitation's fingerprint was compared. The folder is there
    whole, or not at all. Events, keys and policy are readable by their owner alone; the card
    holds a name and public keys.
"""

from __future__ import annotations

import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.enroll.card import write_card
from client.enroll.node_key import make_node_key
from client.enroll.policy_text import first_policy
from client.enroll.start_files import INVITATION, ROOTS, client_service
from client.roster_key import make_roster_key
from client.store import CLIENT_TOML, POLICY_TOML, ClientSettings
from common.catalogue import Catalogue
from common.config import Settings
from common.enrolment.cards import Card, Invitation
from common.enrolment.folders import new_folder, write_private
from common.enrolment.start import start_names, write_start
from common.errors import Code, DataError, PlanError
from common.interactions.readers import EventFile, read_events
from common.privacy.filters import Cap
from common.privacy.plan import Mode
from common.privacy.policy import Policy

__all__ = ["CATALOGUE", "EVENTS", "INVITATION", "REJECTED", "Enrolled", "Wish", "enrol"]

CATALOGUE: Final = "catalogue.json"
EVENTS: Final = "events.parquet"
REJECTED: Final = "rejected.csv"
"""Rows of the shop's table that were set aside, each with what is wrong with it."""


class Wish(Settings):
    """What the owner says, in words of their own."""

    name: str
    """How the client is called in the federation."""
    population: int
    """Declared number of users: a public constant, never a count."""
    epsilon: float
    """ε that all releases together may ever cost."""
    delta: float
    """δ at which that holds."""
    modes: tuple[Mode, ...] = ("local",)
    """Who may add the noise."""
    colluders: int = 1
    """Fewest colluders that a secure sum must withstand."""
    dataset_id: str | None = None
    """Of an earlier enrolment with the same events; None for a new one."""


@dataclass(frozen=True)
class Enrolled:
    """What came of it.

    Attributes:
        folder: the client's folder.
        card: for the operator and the other clients.
        events: events that the client will train on.
        set_aside: rows that cannot be used.
        reasons: one line about those.
        dataset_id: identity of the data set.
        start_files: unit and fragment.
    """

    folder: Path
    card: Card
    events: int
    set_aside: int
    reasons: str
    dataset_id: str
    start_files: tuple[Path, ...]


def enrol(
    wish: Wish, folder: Path, invitation: Invitation, data: Path, catalogue: Path
) -> Enrolled:
    """Lay out a client.

    Args:
        wish: what the owner says.
        folder: not there yet, or empty.
        invitation: compared already.
        data: the shop's events, in any format that is read.
        catalogue: the public list of items: `catalogue.json`, or a product file.

    Raises:
        ConfigError: `enroll-exists`, or a value that cannot be meant.
        PlanError: `plan-delta`, δ is so large that one user's events could leave as they are.
        DataError: events or catalogue cannot be read, or are not the federation's.
    """
    folder = folder.resolve()
    settings = _settings(wish)
    Cap.load({"epsilon": wish.epsilon, "delta": wish.delta}, where="--epsilon, --delta")
    _check_delta(wish)
    items = _catalogue(catalogue, invitation)
    rows = read_events(data, catalogue=items)
    service = client_service(wish.name)
    with new_folder(folder) as part:
        make_node_key(part)
        roster_key = make_roster_key(part).public
        card = write_card(part, wish.name)
        _write_data(part, items, rows)
        invitation.save(part / INVITATION)
        write_private(part / ROOTS, invitation.authority.encode())
        write_private(part / CLIENT_TOML, _client_toml(settings).encode())
        write_private(part / POLICY_TOML, _policy(wish, invitation, roster_key).encode())
        write_start(part, folder, service)
    return Enrolled(
        folder=folder,
        card=card,
        events=len(rows.events),
        set_aside=rows.rejected.n_rows,
        reasons=rows.rejected.summary(),
        dataset_id=settings.dataset_id,
        start_files=tuple(folder / name for name in start_names(service)),
    )


def _settings(wish: Wish) -> ClientSettings:
    return ClientSettings.load(
        {
            "name": wish.name,
            "dataset_id": wish.dataset_id or secrets.token_hex(16),
            "population": wish.population,
            "catalogue": CATALOGUE,
        },
        where="enrolment",
    )


def _check_delta(wish: Wish) -> None:
    if wish.delta * wish.population >= 1:
        raise PlanError(
            Code.PLAN_DELTA,
            f"δ = {wish.delta:g} is not below one in {wish.population} users.",
            where="--delta",
            remedy=f"Choose {wish.population**-1.1:.0e} or less.",
        )


def _catalogue(path: Path, invitation: Invitation) -> Catalogue:
    found = Catalogue.of_federation(path)
    if invitation.catalogue not in (None, found.version):
        raise DataError(
            Code.CATALOGUE_MISMATCH,
            f"the invitation is for catalogue {invitation.catalogue}, this is {found.version}.",
            where=str(path),
            remedy="Ask the operator for the federation's catalogue.",
        )
    return found


def _write_data(part: Path, items: Catalogue, rows: EventFile) -> None:
    items.save(part / CATALOGUE)
    (part / CATALOGUE).chmod(0o644)  # whatever the umask
    write_private(part / EVENTS, rows.rated.to_parquet(index=False))
    if rows.rejected.n_rows:
        text = rows.rejected.faults.to_csv(index=False, lineterminator="\n")
        write_private(part / REJECTED, text.encode())


def _client_toml(settings: ClientSettings) -> str:
    return (
        f'name = "{settings.name}"\n'
        "# Identity of the data set; the ledger is bound to it. Never change it.\n"
        f'dataset_id = "{settings.dataset_id}"\n'
        "# Declared number of users, a public constant.\n"
        f"population = {settings.population}\n"
        f'catalogue = "{settings.catalogue}"\n'
    )


def _policy(wish: Wish, invitation: Invitation, roster_key: str) -> str:
    values = wish.model_dump(include={"epsilon", "delta", "modes", "colluders"})
    own = (wish.name, roster_key)
    text = first_policy(server=invitation.server, own=own, **values)
    Policy.load(tomllib.loads(text), where="the options for policy.toml")
    return text
