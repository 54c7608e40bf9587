"""Which masks are left in a total, from the shares that survivors reveal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.errors import Code, SumError
from common.secure_sum import shamir
from common.secure_sum.dealing import own_mask_key, pair_mask_key
from common.secure_sum.keys import PairKey
from common.secure_sum.messages import KeyOffer, Reveal, ShareOffer
from common.secure_sum.refusals import refusal

__all__ = ["MaskKeys", "Unmasking"]


@dataclass(frozen=True)
class MaskKeys:
    """Keys of the masks of a total that its clients do not cancel among themselves.

    Attributes:
        added: these masks are in it.
        subtracted: of these it has the negative.
    """

    added: Sequence[bytes]
    subtracted: Sequence[bytes]


@dataclass(frozen=True)
class Unmasking:
    """One total: whose words are in it, and what everybody announced.

    Attributes:
        context: of the session.
        offers: keys by name, in order of name; places of shares are by this order.
        deals: what was dealt, by name.
        survivors: whose words are in the total.
    """

    context: str
    offers: Mapping[str, KeyOffer]
    deals: Mapping[str, ShareOffer]
    survivors: frozenset[str]

    @property
    def dropped(self) -> frozenset[str]:
        """Who dealt, so that others have masks with them, and sent no words."""
        return frozenset(self.deals) - self.survivors

    def keys(self, reveals: Sequence[Reveal]) -> MaskKeys:
        """The masks that are left.

        Args:
            reveals: `threshold` of them, of different clients.

        Raises:
            SumError: `sum-share`, a secret does not come out as it was announced; names whose.
        """
        order = list(self.offers)
        lagrange = shamir.Lagrange(order.index(reveal.name) + 1 for reveal in reveals)
        added = [
            own_mask_key(self._seed(lagrange, name, reveals), self.context, name)
            for name in sorted(self.survivors)
        ]
        subtracted: list[bytes] = []
        for dropped in sorted(self.dropped):
            masking = self._masking_key(lagrange, dropped, reveals)
            for name in sorted(self.survivors):
                peer_key = self.offers[name].masking_key
                theirs, key = pair_mask_key(masking, self.context, dropped, name, peer_key)
                (subtracted if theirs else added).append(key)
        return MaskKeys(added, subtracted)

    def _seed(self, lagrange: shamir.Lagrange, name: str, reveals: Sequence[Reveal]) -> bytes:
        seed = _rebuilt(lagrange, name, [reveal.seeds[name] for reveal in reveals])
        if hashlib.sha256(seed).hexdigest() != self.deals[name].seed_digest:
            raise _bad_secret(name)
        return seed

    def _masking_key(
        self, lagrange: shamir.Lagrange, name: str, reveals: Sequence[Reveal]
    ) -> PairKey:
        key = PairKey.of(_rebuilt(lagrange, name, [reveal.keys[name] for reveal in reveals]))
        if key.public != self.offers[name].masking_key:
            raise _bad_secret(name)
        return key


def _rebuilt(lagrange: shamir.Lagrange, name: str, shares: list[str]) -> bytes:
    try:
        return lagrange.rebuild([shamir.from_hex(share) for share in shares])
    except ValueError:
        raise _bad_secret(name) from None


def _bad_secret(name: str) -> SumError:
    message = f"the shares of a secret of {name} do not put together what it announced."
    return refusal(Code.SUM_SHARE, message, where=name)
