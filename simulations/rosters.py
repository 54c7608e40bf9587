"""Who sums securely with whom in a simulation, where everybody's keys are made in one place.

A deployment has no such place: every client makes its own key, and the public halves are
exchanged by a way that does not pass through the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from client.roster_key import make_roster_key
from common.privacy.roster import Roster
from server.training.ordering import terms_of

__all__ = ["make_roster", "terms_of"]


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
