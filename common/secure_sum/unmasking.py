"""Which masks are left in a total, from the shares that survivors reveal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from common.arrays import Words
from common.errors import Code
from common.secure_sum import masks
from common.secure_sum.dealing import own_mask_key, pair_mask_key
from common.secure_sum.keys import PairKey
from common.secure_sum.messages import KeyOffer, Reveal, ShareOffer
from common.secure_sum.rebuilding import Rebuilder
from common.secure_sum.refusals import refusal

__all__ = ["MaskKeys", "Unmasked", "Unmasking"]


@dataclass
class MaskKeys:
    """Keys of those masks of one client that the server can make. No text form shows them.

    Attributes:
        added: these masks are in its words.
        subtracted: of these they have the negative.
    """

    added: list[bytes] = field(default_factory=list, repr=False)
    subtracted: list[bytes] = field(default_factory=list, repr=False)

    def off(self, words: Words) -> Words:
        """The client's words without these masks; a new array."""
        bare = words.copy(order="C")
        masks.shift(bare, self.subtracted, self.added)
        return bare


@dataclass(frozen=True)
class Unmasked:
    """What a threshold of reveals opens.

    Attributes:
        masks: of every survivor, by name.
        wrong: whose secrets' shares do not fit, by who revealed them; see `Rebuilder`.
    """

    masks: Mapping[str, MaskKeys]
    wrong: Mapping[str, tuple[str, ...]]


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

    def open(self, reveals: Sequence[Reveal], threshold: int) -> Unmasked:
        """The masks that are left in each survivor's words.

        Args:
            reveals: of different clients, in order of name; at least `threshold`.
            threshold: how many shares put a secret together.

        Raises:
            SumError: `sum-share`, a secret does not come out as it was announced, also with one
                client's share in the place of another's; names whose.
        """
        places = {name: place for place, name in enumerate(self.offers, start=1)}
        rebuilder = Rebuilder(reveals, places, threshold)
        found = {
            name: MaskKeys(added=[own_mask_key(self._seed(rebuilder, name), self.context, name)])
            for name in sorted(self.survivors)
        }
        for dropped in sorted(self.dropped):
            for name, gone_adds, key in self._with(dropped, self._masking_key(rebuilder, dropped)):
                (found[name].subtracted if gone_adds else found[name].added).append(key)
        rebuilder.compare()
        return Unmasked(found, rebuilder.wrong)

    def _with(self, gone: str, masking: PairKey) -> Iterator[tuple[str, bool, bytes]]:
        """The masks between one that dropped out and each survivor."""
        for name in sorted(self.survivors):
            peer_key = self.offers[name].masking_key
            yield name, *pair_mask_key(masking, self.context, gone, name, peer_key)

    def _seed(self, rebuilder: Rebuilder, name: str) -> bytes:
        announced = self.deals[name].seed_digest
        return _known(
            name,
            rebuilder.rebuild(name, lambda seed: hashlib.sha256(seed).hexdigest() == announced),
        )

    def _masking_key(self, rebuilder: Rebuilder, name: str) -> PairKey:
        announced = self.offers[name].masking_key
        return PairKey.of(
            _known(name, rebuilder.rebuild(name, lambda key: PairKey.of(key).public == announced))
        )


def _known(name: str, secret: bytes | None) -> bytes:
    if secret is None:
        message = f"the shares of a secret of {name} do not put together what it announced."
        raise refusal(Code.SUM_SHARE, message, where=name)
    return secret
