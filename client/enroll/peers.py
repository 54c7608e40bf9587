"""Peers of secure sums: a card that was compared becomes a line of the policy's roster.

Guarantee:
    Of `policy.toml` one line of the table `[roster]` changes, or nothing does. No pinned key is
    replaced unless the owner says so, and never the client's own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from client.enroll.policy_file import edited, editing
from client.enroll.policy_text import pinned, unpinned
from client.owner import Owner
from client.roster_key import load_roster_key
from client.store import POLICY_TOML
from common.enrolment.cards import Card
from common.enrolment.folders import exists
from common.errors import Code, ConfigError
from common.privacy.roster import Roster

__all__ = ["forget_peer", "pin_peer"]


def pin_peer(folder: Path, card: Card, *, replace: bool = False) -> tuple[bool, Roster]:
    """Put a peer's roster key into a client's policy.

    Args:
        folder: the client's.
        card: compared already.
        replace: another key may be pinned under the name; then it is replaced.

    Returns:
        whether anything changed, and the roster after it.

    Raises:
        ConfigError: `enroll-card`, it has this client's name and not its key; `enroll-exists`,
            another key is pinned; or the policy cannot be edited.
        PolicyError: `policy-missing`; `policy-roster`, two clients would share a key.
    """
    with editing(folder):
        return _pinned(Owner.of(folder), card, replace=replace)


def forget_peer(folder: Path, name: str) -> Roster:
    """Take a peer out of a client's policy; the roster after it.

    Raises:
        ConfigError: `config-invalid`, it is not pinned, is this client, or the policy cannot
            be edited.
        PolicyError: `policy-missing`.
    """
    with editing(folder):
        return _forgotten(Owner.of(folder), name)


def _pinned(owner: Owner, card: Card, *, replace: bool) -> tuple[bool, Roster]:
    roster = owner.policy.roster
    _check_own(owner, card)
    if roster.get(card.name) == card.roster_key:
        return False, Roster.of(roster)
    Roster.of({**roster, card.name: card.roster_key})
    if card.name in roster and not replace:
        raise exists(
            f"another key is pinned for {card.name}",
            owner.folder / POLICY_TOML,
            f"Ask {card.name} why it has a new one; then say --replace.",
        )
    return True, _edited(owner.folder, lambda text: pinned(text, card.name, card.roster_key))


def _forgotten(owner: Owner, name: str) -> Roster:
    if name == owner.settings.name or name not in owner.policy.roster:
        what = "is this client itself" if name == owner.settings.name else "is not pinned"
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{name!r} {what}.",
            where=str(owner.folder / POLICY_TOML),
            remedy=f"Pinned are: {', '.join(owner.policy.roster) or 'none'}.",
        )
    return _edited(owner.folder, lambda text: unpinned(text, name))


def _check_own(owner: Owner, card: Card) -> None:
    if card.name != owner.settings.name:
        return
    if card.roster_key != load_roster_key(owner.folder).public:
        raise ConfigError(
            Code.ENROLL_CARD,
            f"somebody else calls themselves {card.name}, which is this client's name.",
            where="the card",
            remedy="Tell the operator: names have to be different.",
        )


def _edited(folder: Path, edit: Callable[[str], str]) -> Roster:
    return Roster.of(edited(folder, edit).roster)
