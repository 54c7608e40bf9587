"""What a client keeps from one stage of a secure sum to the next: each may be a new process."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import Field

from common.config import Settings
from common.privacy.roster import ClientName
from common.privacy.signing import Hex32
from common.secure_sum import masks
from common.secure_sum.masks import Words
from common.secure_sum.messages import KeyList, KeyOffer, Share

__all__ = ["Agreed", "Context", "Dealt", "Masking", "Offered", "Secret"]

Context: TypeAlias = Hex32
"""Hash of job, step, session and inputs."""
Secret: TypeAlias = Hex32
"""A key or a seed, 32 bytes in hexadecimal; no text form of a state shows it."""


class Offered(Settings):
    """After stage `keys`."""

    context: Context
    offer: KeyOffer
    """What was said."""
    sharing: Secret = Field(repr=False)
    """Private half of the sharing key."""
    masking: Secret = Field(repr=False)
    """Private half of the masking key."""


class Dealt(Settings):
    """After stage `shares`."""

    context: Context
    peers: KeyList
    """Whose keys were checked; places of shares are by their order."""
    seed: Secret = Field(repr=False)
    """Of the own mask."""
    seed_share: Share = Field(repr=False)
    """The own share of the own seed."""
    key_share: Share = Field(repr=False)
    """The own share of the own masking key."""
    opening: dict[ClientName, Secret] = Field(repr=False)
    """Key of what each peer seals for this client."""


class Masking(Settings):
    """What masks the words, and the shares to reveal later.

    Guarantee:
        As long as one honest peer's masking key or the own seed is unknown to the server,
        masked words look uniform to it.
    """

    context: Context
    seeds: dict[ClientName, Share] = Field(repr=False)
    """A share of the seed of everybody who dealt, in order of name."""
    keys: dict[ClientName, Share] = Field(repr=False)
    """A share of the masking key of the same."""
    adds: tuple[Secret, ...] = Field(repr=False)
    """Keys of the masks to add: the own one, and those with peers later in order of name."""
    subtracts: tuple[Secret, ...] = Field(repr=False)
    """Keys of the masks with peers earlier in order of name."""

    @property
    def dealers(self) -> tuple[str, ...]:
        """Everybody who dealt, in order of name."""
        return tuple(self.seeds)

    def apply(self, words: Words) -> Words:
        """The words with every mask; a new array of the same shape and type.

        Args:
            words: integers modulo 2^32 or 2^64, any shape.

        Raises:
            ValueError: they are neither uint32 nor uint64.
        """
        masked = words.copy(order="C")
        adds, subtracts = map(bytes.fromhex, self.adds), map(bytes.fromhex, self.subtracts)
        masks.shift(masked, adds, subtracts)
        return masked


class Agreed(Settings):
    """After stage `survivors`: the one list that was signed."""

    context: Context
    survivors: tuple[ClientName, ...]
