"""What one client says, held to what was asked of it: for the server, before it is used."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from common.errors import Code
from common.secure_sum.messages import Reveal, ShareOffer
from common.secure_sum.refusals import refusal

__all__ = ["check_deal", "check_reveal"]


def check_deal(deal: ShareOffer, offered: Iterable[str]) -> None:
    """Hold what a client dealt to the others who offered keys: once each, in order of name.

    Args:
        deal: what it dealt.
        offered: everybody who offered keys, in order of name.

    Raises:
        SumError: `sum-share`.
    """
    wanted = [(deal.name, name) for name in offered if name != deal.name]
    if [(sealed.sender, sealed.recipient) for sealed in deal.shares] != wanted:
        message = f"{deal.name} did not deal once to each of the others, in order."
        raise refusal(Code.SUM_SHARE, message, where=deal.name)


def check_reveal(reveal: Reveal, survivors: Collection[str], dropped: Collection[str]) -> None:
    """Hold shares to what was asked for: one of each seed of a survivor, one of each other key.

    Raises:
        SumError: `sum-share`.
    """
    asked = reveal.name in survivors
    if not asked or set(reveal.seeds) != set(survivors) or set(reveal.keys) != set(dropped):
        message = f"{reveal.name} did not reveal what it was asked for."
        raise refusal(Code.SUM_SHARE, message, where=reveal.name)
