"""Secrets put together from what survivors reveal, and whose shares do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from common.secure_sum import shamir
from common.secure_sum.messages import Reveal
from common.secure_sum.shamir import Lagrange

__all__ = ["Rebuilder"]

_FACTOR_BYTES: Final = 16


class Rebuilder:
    """The secrets of one session, out of its reveals.

    Of every secret something was announced, so that a wrong one shows. Where the first shares
    make none, one more client's share is taken in the place of each of them in turn: that finds
    one wrong share of each secret.
    """

    def __init__(
        self, reveals: Sequence[Reveal], places: Mapping[str, int], threshold: int
    ) -> None:
        """Take what clients reveal.

        Args:
            reveals: of different clients, in order of name; at least `threshold`.
            places: of their shares, by name.
            threshold: how many shares put a secret together.
        """
        self._reveals = reveals
        self._threshold = threshold
        self._places = [places[reveal.name] for reveal in reveals]
        self._first = Lagrange(self._places[:threshold])
        self._with_spare: Lagrange | None = None
        self._secrets: dict[str, int] = {}
        self._shares: dict[str, list[int]] = {}
        self._wrong: dict[str, set[str]] = {}

    @property
    def wrong(self) -> dict[str, tuple[str, ...]]:
        """Whose secrets' shares do not fit, by who revealed them.

        Of the two one lies, and it does not show which: the share may have been dealt so. Two
        who lie together can make honest ones look wrong, and no secret.
        """
        return {name: tuple(sorted(self._wrong[name])) for name in sorted(self._wrong)}

    def rebuild(self, owner: str, is_right: Callable[[bytes], bool]) -> bytes | None:
        """The secret of `owner`; None if it does not come out.

        Args:
            owner: whose seed it is, or whose masking key: never both are revealed.
            is_right: whether a secret is what was announced.
        """
        shares = self._shares[owner] = [_share(reveal, owner) for reveal in self._reveals]
        found = _rebuilt(self._first, shares[: self._threshold])
        if found is None or not is_right(found):
            found = self._without_one(owner, shares, is_right)
        if found is not None:
            self._secrets[owner] = int.from_bytes(found, "big")
        return found

    def compare(self) -> None:
        """Hold the shares that nobody needed to the others, once every secret came out.

        All secrets are summed, each with a factor that hangs on all that was revealed, and all
        shares with them: one comparison a client, whatever the number of secrets.
        """
        sound = [at for at, one in enumerate(self._reveals) if one.name not in self._wrong]
        base, others = sound[: self._threshold], sound[self._threshold :]
        if len(base) < self._threshold or not others:
            return
        factors = self._factors()
        summed = [
            sum(factor * self._shares[owner][at] for owner, factor in factors.items())
            for at in range(len(self._reveals))
        ]
        lagrange = self._first if base == list(range(len(base))) else self._at(base)
        secret = sum(factor * self._secrets[owner] for owner, factor in factors.items())
        if lagrange.share_at(0, [summed[k] for k in base]) != secret % shamir.PRIME:
            return
        for at in others:
            fits = lagrange.share_at(self._places[at], [summed[k] for k in base])
            if fits != summed[at] % shamir.PRIME:
                self._compare_each(at, lagrange, base)

    def _compare_each(self, at: int, lagrange: Lagrange, base: Sequence[int]) -> None:
        for owner, shares in self._shares.items():
            if lagrange.share_at(self._places[at], [shares[k] for k in base]) != shares[at]:
                self._wrong.setdefault(self._reveals[at].name, set()).add(owner)

    def _without_one(
        self, owner: str, shares: Sequence[int], is_right: Callable[[bytes], bool]
    ) -> bytes | None:
        """The secret by all but one of one share more than it takes.

        Whose shares were wrong before are left out first.
        """
        size = self._threshold + 1
        if len(shares) < size:
            return None
        if self._with_spare is None:
            self._with_spare = self._at(range(size))
        found = list(self._with_spare.without_each(shares[:size]))
        names = [reveal.name for reveal in self._reveals[:size]]
        for name, secret in sorted(
            zip(names, found, strict=True), key=lambda one: one[0] not in self._wrong
        ):
            if secret is not None and is_right(secret):
                self._wrong.setdefault(name, set()).add(owner)
                return secret
        return None

    def _at(self, positions: Sequence[int]) -> Lagrange:
        return Lagrange(self._places[at] for at in positions)

    def _factors(self) -> dict[str, int]:
        said = hashlib.sha256()
        for reveal in self._reveals:
            said.update(reveal.model_dump_json().encode())
        return {owner: _factor(said.digest(), owner) for owner in self._secrets}


def _factor(said: bytes, owner: str) -> int:
    digest = hashlib.sha256(said + owner.encode()).digest()
    return int.from_bytes(digest[:_FACTOR_BYTES], "big")


def _rebuilt(lagrange: Lagrange, shares: Sequence[int]) -> bytes | None:
    try:
        return lagrange.rebuild(shares)
    except ValueError:
        return None


def _share(reveal: Reveal, owner: str) -> int:
    """The share that a client reveals of a secret; what is none counts as 0, and is wrong."""
    text = reveal.seeds.get(owner) or reveal.keys[owner]
    try:
        return shamir.from_hex(text)
    except ValueError:
        return 0
