"""The roster: who may take part in a secure sum, and how many of them must be honest.

Pinned in every client's policy and exchanged out of band. If the server were the directory it
could invent peers, and what it invented would know the masks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self, TypeAlias

from pydantic import StringConstraints

from common.errors import Code, PolicyError
from common.privacy.signing import PublicKey

__all__ = ["ClientName", "Roster", "Terms"]

ClientName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,64}$")]
"""How a client is called on a roster."""


@dataclass(frozen=True)
class Roster:
    """Every client of a federation with the key that signs its part in secure sums.

    Attributes:
        keys: public roster key by name, in order of name, all different.
    """

    keys: Mapping[str, PublicKey]

    @classmethod
    def of(cls, keys: Mapping[str, PublicKey]) -> Self:
        """The roster of `keys`, in order of name.

        Raises:
            PolicyError: `policy-roster`, two clients share a key: one could sign for both.
        """
        if len(set(keys.values())) < len(keys):
            raise PolicyError(
                Code.POLICY_ROSTER,
                "two clients have the same roster key.",
                where="roster",
                remedy="Every client makes a key of its own: exchange the public halves again.",
            )
        return cls(dict(sorted(keys.items())))

    @property
    def names(self) -> tuple[str, ...]:
        """All clients, in order of name."""
        return tuple(self.keys)

    @property
    def digest(self) -> str:
        """SHA-256 of names and keys: two policies pin the same roster if these agree."""
        text = json.dumps(dict(self.keys), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Terms:
    """How many must answer, and how many may be against the others.

    Attributes:
        clients: n, clients on the roster.
        threshold: t, fewest clients of which a total is made.
        colluders: c, clients that may collude with the server.
    """

    clients: int
    threshold: int
    colluders: int

    @classmethod
    def usual(
        cls, clients: int, threshold: int | None = None, colluders: int | None = None
    ) -> Self:
        """Terms where nobody says otherwise. Not checked here.

        A tenth may collude, at least one; four fifths must answer, rounded up: with those, 2t
        is above n + c for every n of at least 2.
        """
        return cls(
            clients,
            -(-4 * clients // 5) if threshold is None else threshold,
            max(1, clients // 10) if colluders is None else colluders,
        )

    @property
    def honest(self) -> int:
        """Honest shares of noise in every total, h = t - c."""
        return self.threshold - self.colluders

    @property
    def most_before_masks_fall(self) -> int:
        """Clients that may sign two lists of survivors before two of them can have t signatures.

        2t - n - 1, at least c where the terms are safe. With c' colluders, up to so many, t - c'
        shares of noise are in every total. One more, and the server has both secrets of every
        other client, and its words with one share. A client whose memory was put back from a
        copy may sign twice, as a colluder does.
        """
        return 2 * self.threshold - self.clients - 1

    def check(self) -> None:
        """Hold the terms to what the protocol is safe under (Bonawitz et al. 2017, section 6.2).

        With 2t > n + c no two lists of survivors can each have t signatures, since only
        colluders sign both; t > c leaves noise that no colluder knows. A client that was
        restored from a backup counts as a colluder in the first of these until it has a new
        roster key: it may not remember what it signed (`most_before_masks_fall`).

        Raises:
            PolicyError: `policy-threshold`.
        """
        n, t, c = self.clients, self.threshold, self.colluders
        if not (1 <= c < t <= n and 2 * t > n + c):
            raise PolicyError(
                Code.POLICY_THRESHOLD,
                f"threshold {t} of {n} clients with {c} colluders is not safe: it takes c >= 1, "
                "c < t <= n and 2t > n + c.",
                where="threshold",
                remedy="Raise the threshold, or tolerate fewer colluders.",
            )
