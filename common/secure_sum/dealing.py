"""What passes between two clients of a session: sealed shares, and the key of their mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from common.errors import Code
from common.secure_sum.keys import PairKey, derive, open_sealed, seal
from common.secure_sum.messages import KeyOffer, SealedShares
from common.secure_sum.refusals import refusal

__all__ = ["SharePair", "open_shares", "own_mask_key", "pair_mask_key", "seal_shares"]

SharePair: TypeAlias = tuple[str, str]
"""A share of a seed and one of a masking key, 33 bytes each in hexadecimal."""

_SEAL: Final = "seal"
_OWN_MASK: Final = "own mask"
_PAIR_MASK: Final = "pair mask"
_SHARE_BYTES: Final = 33


def seal_shares(
    sharing: PairKey, context: str, sender: str, dealt: Iterable[tuple[KeyOffer, SharePair]]
) -> Iterator[tuple[SealedShares, bytes]]:
    """Each peer's shares, sealed for it alone, and the key of what it seals for the sender.

    Nothing is sealed for the sender itself. Both keys come from one agreement, so that none
    is made again when the peers' shares are opened.

    Raises:
        SumError: `sum-peers`, a peer's key is of low order.
    """
    for peer, pair in dealt:
        if peer.name == sender:
            continue
        names = (sender, peer.name)
        key, opening = sharing.agree_both_ways(peer.sharing_key, _SEAL, context, names)
        sealed = seal(key, bytes.fromhex("".join(pair)), _about(context, names))
        yield SealedShares(sender=sender, recipient=peer.name, sealed=sealed), opening


def open_shares(
    keys: Mapping[str, str], context: str, recipient: str, shares: Iterable[SealedShares]
) -> Iterator[tuple[str, SharePair]]:
    """Senders, and what they dealt to `recipient`.

    Args:
        keys: of what each sender seals for the recipient, by name, hexadecimal.
        context: of the session.
        recipient: who opens.
        shares: as they came.

    Raises:
        SumError: `sum-share`, something is for somebody else, of another session, or changed.
    """
    for sealed in shares:
        names = (sealed.sender, recipient)
        key = bytes.fromhex(keys[sealed.sender])
        text = open_sealed(key, sealed.sealed, _about(context, names))
        if sealed.recipient != recipient or text is None or len(text) != 2 * _SHARE_BYTES:
            message = f"the shares from {sealed.sender} are not for {recipient}, or were changed."
            raise refusal(Code.SUM_SHARE, message, where="shares")
        yield sealed.sender, (text[:_SHARE_BYTES].hex(), text[_SHARE_BYTES:].hex())


def own_mask_key(seed: bytes, context: str, name: str) -> bytes:
    """Key of the mask that a client has with nobody."""
    return derive(seed, _OWN_MASK, context, (name,))


def pair_mask_key(
    masking: PairKey, context: str, name: str, peer: str, peer_key: str
) -> tuple[bool, bytes]:
    """Whether `name` adds its mask with `peer` (it subtracts otherwise), and the mask's key.

    The first in order of name adds, the other subtracts, so that a sum of both has none.

    Raises:
        SumError: `sum-peers`, the peer's key is of low order.
    """
    first, second = sorted((name, peer))
    return name == first, masking.agree(peer_key, _PAIR_MASK, context, (first, second))


def _about(context: str, names: tuple[str, str]) -> str:
    """What a seal is bound to: session, sender, recipient."""
    return " ".join((context, *names))
