"""What clients say in a secure sum, held to what was asked before it is used.

The clients hold each other to the roster; these checks keep one that says nonsense from
stopping the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from common.errors import Code
from common.privacy.roster import Roster
from common.protocol import ReplyBody
from common.secure_sum.keys import PairKey
from common.secure_sum.messages import Agreement, KeyOffer, Reveal, ShareOffer
from common.secure_sum.refusals import refusal
from common.secure_sum.statements import check_agreements, check_offers

__all__ = ["check_agreement", "check_deal", "check_name", "check_offer", "check_reveal"]


def check_name(body: ReplyBody, name: str) -> None:
    """Hold what was said to who said it: no client speaks for another.

    Raises:
        SumError: `sum-peers`.
    """
    if body.name != name:
        message = f"{name} speaks for {body.name}."
        raise refusal(Code.SUM_PEERS, message, where=name)


def check_offer(
    offer: KeyOffer, before: Iterable[KeyOffer], roster: Roster | None, context: str
) -> None:
    """Hold keys to what peers will accept: usable, new in this session, and signed.

    Args:
        offer: the keys.
        before: the offers that came earlier.
        roster: None leaves signatures to the clients.
        context: of the session.

    Raises:
        SumError: `sum-peers`.
    """
    if roster is not None:
        check_offers([offer], roster, context)
    keys = [offer.sharing_key, offer.masking_key]
    known = {key for one in before for key in (one.sharing_key, one.masking_key)}
    if keys[0] == keys[1] or known & set(keys):
        message = f"{offer.name} offers a key that was offered before."
        raise refusal(Code.SUM_PEERS, message, where=offer.name)
    probe = PairKey.create()
    for key in keys:
        probe.agree(key, "probe", context, (offer.name, offer.name))


def check_deal(deal: ShareOffer, offers: Mapping[str, KeyOffer]) -> None:
    """Hold what a client dealt to the others who offered keys: once each, in order of name.

    Raises:
        SumError: `sum-share`.
    """
    wanted = [(deal.name, name) for name in sorted(offers) if name != deal.name]
    if [(sealed.sender, sealed.recipient) for sealed in deal.shares] != wanted:
        message = f"{deal.name} did not deal once to each of the others, in order."
        raise refusal(Code.SUM_SHARE, message, where=deal.name)


def check_agreement(
    agreement: Agreement, survivors: Iterable[str], roster: Roster | None, context: str
) -> None:
    """Hold a signature to the list of survivors, if there is a roster to do it by.

    Raises:
        SumError: `sum-survivors`.
    """
    if roster is not None:
        check_agreements([agreement], roster, context, sorted(survivors))


def check_reveal(reveal: Reveal, survivors: Collection[str], dropped: Collection[str]) -> None:
    """Hold shares to what was asked for: one of each seed of a survivor, one of each other key.

    Raises:
        SumError: `sum-share`.
    """
    if set(reveal.seeds) != set(survivors) or set(reveal.keys) != set(dropped):
        message = f"{reveal.name} did not reveal what it was asked for."
        raise refusal(Code.SUM_SHARE, message, where=reveal.name)
