"""What roster keys sign in a secure sum, and how lists are held to the roster."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from common.errors import Code
from common.privacy.roster import Roster
from common.privacy.signing import SigningKey, canonical, is_signed, is_signed_text
from common.secure_sum.keys import is_sound
from common.secure_sum.messages import Agreement, KeyOffer
from common.secure_sum.refusals import refusal

__all__ = [
    "check_agreements",
    "check_offers",
    "list_digest",
    "signed_agreement",
    "signed_offer",
]

_KEYS: Final = "sum keys"
_SURVIVORS: Final = "sum survivors"


def signed_offer(
    key: SigningKey, context: str, name: str, sharing_key: str, masking_key: str
) -> KeyOffer:
    """The offer of `name`, signed by its roster key."""
    signature = key.sign(_KEYS, _offer_values(context, name, sharing_key, masking_key))
    return KeyOffer(
        name=name, sharing_key=sharing_key, masking_key=masking_key, signature=signature
    )


def signed_agreement(
    key: SigningKey, context: str, name: str, survivors: Sequence[str]
) -> Agreement:
    """The signature of `name` under a list of survivors."""
    signature = key.sign(_SURVIVORS, _list_values(context, list_digest(survivors)))
    return Agreement(name=name, signature=signature)


def list_digest(names: Iterable[str]) -> str:
    """SHA-256 of names in their order, one a line."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def check_offers(offers: Sequence[KeyOffer], roster: Roster, context: str) -> None:
    """Hold offers to the roster: known names in order, once each, all signed for this session.

    Raises:
        SumError: `sum-peers`.
    """
    _check_order([offer.name for offer in offers], roster, Code.SUM_PEERS, "keys")
    keys = [key for offer in offers for key in (offer.sharing_key, offer.masking_key)]
    if len(set(keys)) < len(keys) or not all(map(is_sound, keys)):
        message = "a key is offered twice, of low order, or not written as keys are."
        raise refusal(Code.SUM_PEERS, message, where="keys")
    for offer in offers:
        values = _offer_values(context, offer.name, offer.sharing_key, offer.masking_key)
        if not is_signed(roster.keys[offer.name], offer.signature, _KEYS, values):
            message = f"the keys of {offer.name} are not signed by it for this session."
            raise refusal(Code.SUM_PEERS, message, where="keys")


def check_agreements(
    agreements: Sequence[Agreement], roster: Roster, context: str, survivors: Sequence[str]
) -> None:
    """Hold signatures to one list: of survivors in order, once each, all under that list.

    Raises:
        SumError: `sum-survivors`.
    """
    _check_order([given.name for given in agreements], roster, Code.SUM_SURVIVORS, "reveal")
    text = canonical(_SURVIVORS, _list_values(context, list_digest(survivors)))
    among = set(survivors)
    for given in agreements:
        signed = is_signed_text(roster.keys[given.name], given.signature, text)
        if given.name not in among or not signed:
            message = f"{given.name} did not sign this list of survivors."
            raise refusal(Code.SUM_SURVIVORS, message, where="reveal")


def _check_order(names: list[str], roster: Roster, code: Code, where: str) -> None:
    if any(first >= second for first, second in pairwise(names)):
        raise refusal(code, "the list names a client twice, or is not in order.", where=where)
    strangers = [name for name in names if name not in roster.keys]
    if strangers:
        raise refusal(code, f"{strangers[0]} is not on the roster.", where=where)


def _offer_values(context: str, name: str, sharing_key: str, masking_key: str) -> dict[str, str]:
    return {"context": context, "name": name, "sharing": sharing_key, "masking": masking_key}


def _list_values(context: str, digest: str) -> dict[str, str]:
    return {"context": context, "survivors": digest}
