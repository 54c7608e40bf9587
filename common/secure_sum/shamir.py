"""Secrets in shares: any `threshold` of them put a secret together, fewer say nothing.

A secret of 32 bytes is the value at 0 of a random polynomial of degree `threshold` - 1 over
the integers modulo 2^256 + 297, and a share is its value at the holder's place (Shamir 1979).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Final

__all__ = ["PRIME", "SECRET_BYTES", "Lagrange", "deal", "from_hex", "to_hex"]

PRIME: Final = 2**256 + 297
"""The smallest prime that has room for every secret."""
SECRET_BYTES: Final = 32
_SHARE_DIGITS: Final = 66


def deal(secret: bytes, threshold: int, places: Iterable[int]) -> list[int]:
    """One share of `secret` for each of `places`.

    Args:
        secret: 32 bytes.
        threshold: how many shares put it together.
        places: where the polynomial is taken; distinct, from 1, below 2^32.

    Guarantee:
        Any `threshold` - 1 shares are independent of the secret: the coefficients are uniform
        and from the operating system, and new ones are drawn for every call.

    Raises:
        ValueError: the secret has another length, or a place is 0 or there twice.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, got {len(secret)}")
    falling = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    falling.append(int.from_bytes(secret, "big"))
    return [_value(falling, place) for place in _checked(places)]


class Lagrange:
    """Puts secrets together from their shares at one set of places.

    The weights are made once, in time square in the number of places; a secret then takes one
    product a share.
    """

    def __init__(self, places: Iterable[int]) -> None:
        self.places = tuple(_checked(places))
        self._weights = [_weight(place, self.places) for place in self.places]

    def rebuild(self, shares: Sequence[int]) -> bytes:
        """The secret whose shares, in order of `places`, these are; 32 bytes.

        Raises:
            ValueError: there are more or fewer shares than places, or they do not come from a
                secret of 32 bytes. Wrong shares seldom show in this way: compare the secret
                with something public.
        """
        total = sum(w * share for w, share in zip(self._weights, shares, strict=True)) % PRIME
        if total.bit_length() > 8 * SECRET_BYTES:
            raise ValueError("the shares put together no secret")
        return total.to_bytes(SECRET_BYTES, "big")

    def without_each(self, shares: Sequence[int]) -> Iterator[bytes | None]:
        """For each place, the secret that the shares at all others put together.

        The weights without place x_i are w_j (1 - x_j / x_i), so that both sums over j are made
        once and each secret takes one product.

        Args:
            shares: one more than it takes, in order of `places`.

        Returns:
            In order of `places`; None where it is no secret of 32 bytes.
        """
        terms = [w * share for w, share in zip(self._weights, shares, strict=True)]
        total = sum(terms)
        slope = sum(x * term for x, term in zip(self.places, terms, strict=True))
        for inverse in self._inverses:
            found = (total - slope * inverse) % PRIME
            fits = found.bit_length() <= 8 * SECRET_BYTES
            yield found.to_bytes(SECRET_BYTES, "big") if fits else None

    def share_at(self, place: int, shares: Sequence[int]) -> int:
        """The share at another place of the secret whose shares these are.

        The weights there are w_j · M(x)/M(0) · x_j / (x_j - x), M(x) the product of all x - x_i.
        """
        above, below = 1, 1
        for x in self.places:
            above, below = above * (x - place) % PRIME, below * x % PRIME
        parts = zip(self.places, self._weights, shares, strict=True)
        total = sum(w * share % PRIME * x * _inverse(x - place) for x, w, share in parts)
        return total * above * pow(below, -1, PRIME) % PRIME

    @cached_property
    def _inverses(self) -> list[int]:
        return [_inverse(x) for x in self.places]


def to_hex(share: int) -> str:
    """A share as messages carry it: 33 bytes, big-endian."""
    return f"{share:0{_SHARE_DIGITS}x}"


def from_hex(text: str) -> int:
    """A share out of a message.

    Raises:
        ValueError: it is no number below the prime.
    """
    share = int(text, 16)
    if not 0 <= share < PRIME:
        raise ValueError("a share is a number below the prime")
    return share


def _value(falling: list[int], place: int) -> int:
    """Horner's rule; a place is small, so that one reduction at the end is the fastest."""
    total = 0
    for coefficient in falling:
        total = total * place + coefficient
    return total % PRIME


def _weight(place: int, places: tuple[int, ...]) -> int:
    above, below = 1, 1
    for other in places:
        if other != place:
            above = above * other % PRIME
            below = below * (other - place) % PRIME
    return above * pow(below, -1, PRIME) % PRIME


@lru_cache(maxsize=1 << 14)
def _inverse(number: int) -> int:
    """Of places and what is between two of them: few numbers, often."""
    return pow(number, -1, PRIME)


def _checked(places: Iterable[int]) -> list[int]:
    found = list(places)
    if len(set(found)) < len(found) or any(not 0 < place < 2**32 for place in found):
        raise ValueError("places are distinct, from 1 and below 2^32")
    return found
