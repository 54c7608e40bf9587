"""Which masks a server can take off each client's words with everything that it was told.

The own mask of every survivor, because its seed is revealed, and the masks that it shared with
clients that dropped out, because their keys are. The masks between survivors stay on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from common.protocol import Words
from common.secure_sum import masks, shamir
from common.secure_sum.dealing import own_mask_key, pair_mask_key
from common.secure_sum.keys import PairKey
from server.seen import Transcript

__all__ = ["KnownMasks", "known_masks"]


@dataclass
class KnownMasks:
    """Keys of the masks of one client that the server knows, by how to take them off."""

    subtract: list[bytes] = field(default_factory=list)
    add: list[bytes] = field(default_factory=list)

    def off(self, words: Words) -> Words:
        """The words without these masks; a new array."""
        bare = words.copy(order="C")
        masks.shift(bare, self.add, self.subtract)
        return bare


def known_masks(transcript: Transcript) -> Mapping[str, KnownMasks]:
    """What is known of each survivor's masks; nothing before stage `reveal`.

    Raises:
        ValueError: the shares put no secret together.
    """
    ended = transcript.ended
    known = {name: KnownMasks() for name in ended.survivors}
    reveals = [one for one in transcript.reveals if one.name not in ended.dropped]
    if len(reveals) < transcript.threshold:
        return known
    order = [offer.name for offer in transcript.offers]
    lagrange = shamir.Lagrange(order.index(reveal.name) + 1 for reveal in reveals)

    def secret(shares: list[str]) -> bytes:
        return lagrange.rebuild([shamir.from_hex(share) for share in shares])

    for name, masks_of in known.items():
        seed = secret([reveal.seeds[name] for reveal in reveals])
        masks_of.subtract.append(own_mask_key(seed, transcript.context, name))
    for gone in reveals[0].keys:
        private = secret([reveal.keys[gone] for reveal in reveals])
        for name, gone_adds, key in _with(gone, PairKey.of(private), transcript):
            (known[name].add if gone_adds else known[name].subtract).append(key)
    return known


def _with(gone: str, masking: PairKey, transcript: Transcript) -> Iterator[tuple[str, bool, bytes]]:
    """The masks between one that dropped out and each survivor."""
    keys = {offer.name: offer.masking_key for offer in transcript.offers}
    for name in transcript.ended.survivors:
        adds, key = pair_mask_key(masking, transcript.context, gone, name, keys[name])
        yield name, adds, key
