"""Who sums securely with whom in a simulation, where everybody's keys are made in one place.

A deployment has no such place: every client makes its own key, and the public halves are
exchanged by a way that does not pass through the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from client.roster_key import make_roster_key
from common.errors import Code, ConfigError, PolicyError
from common.privacy.roster import Roster, Terms
from simulations.scenario import Scenario

__all__ = ["make_roster", "terms_of"]


def terms_of(scenario: Scenario, clients: int) -> Terms | None:
    """How many of `clients` must answer and may collude; None where nothing is summed securely.

    Raises:
        ConfigError: `plan-mode`, one client alone.
        PolicyError: `policy-threshold`, what the scenario says is not safe.
    """
    if scenario.mode != "distributed":
        return None
    if clients < 2:
        raise ConfigError(
            Code.PLAN_MODE,
            "a secure sum of one client hides nothing: the total is its own sum.",
            where="clients",
            remedy="Take two clients at least, or mode `local`.",
        )
    terms = Terms.usual(clients, scenario.threshold, scenario.colluders)
    try:
        terms.check()
    except PolicyError as error:
        where = "colluders" if scenario.threshold is None else "threshold"
        raise PolicyError(error.code, error.message, where=where, remedy=error.remedy) from None
    return terms


def make_roster(folders: Iterable[Path]) -> Roster:
    """Make a roster key in every client's folder, and the roster that all of them pin.

    Args:
        folders: made if they are not there; named as their clients are.

    Raises:
        DataError: `disk-full`, or they cannot be written.
    """
    keys = {}
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys[folder.name] = make_roster_key(folder).public
    return Roster.of(keys)
