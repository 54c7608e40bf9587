"""What clients say in a secure sum, held to what was asked before it is used.

The clients hold each other to the roster; these checks keep one that says nonsense from
stopping the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from common.errors import Code
from common.privacy.roster import Roster
from common.protocol import ReplyBody
from common.secure_sum.messages import Agreement, KeyOffer
from common.secure_sum.refusals import refusal
from common.secure_sum.statements import check_agreements, check_offers

__all__ = ["check_agreement", "check_name", "check_offer"]


def check_name(body: ReplyBody, name: str) -> None:
    """Hold what was said to who said it: no client speaks for another.

    Raises:
        SumError: `sum-peers`.
    """
    if body.name != name:
        message = f"{name} speaks for {body.name}."
        raise refusal(Code.SUM_PEERS, message, where=name)


def check_offer(offer: KeyOffer, known: Set[str], roster: Roster, context: str) -> None:
    """Hold keys to what peers will accept: usable, new in this session, and signed.

    Args:
        offer: the keys.
        known: both keys of every offer that came earlier.
        roster: of the job.
        context: of the session.

    Raises:
        SumError: `sum-peers`.
    """
    check_offers([offer], roster, context)
    if not known.isdisjoint((offer.sharing_key, offer.masking_key)):
        message = f"{offer.name} offers a key that was offered before."
        raise refusal(Code.SUM_PEERS, message, where=offer.name)


def check_agreement(
    agreement: Agreement, survivors: Iterable[str], roster: Roster, context: str
) -> None:
    """Hold a signature to the list of survivors.

    Raises:
        SumError: `sum-survivors`.
    """
    check_agreements([agreement], roster, context, sorted(survivors))
