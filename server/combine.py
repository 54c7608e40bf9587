"""Combining releases: weighted sums in order of name, holding as few releases as it can.

The order is fixed, so that a total does not depend on who answered first; a release that
comes early waits for its turn. Where a robust rule compares releases, all are held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats
from common.privacy.heads import SignedHead
from common.privacy.plan import Mode, Release
from common.protocol import Reply
from common.solvers.aggregation import Aggregation
from common.solvers.base import NoisyTotal, Step
from server.robust import robust_average
from server.roster import Member

__all__ = ["Combiner"]


@dataclass
class Combiner:
    """The running total of one round.

    Weights are public constants. In mode `none` a total is the plain sum. With equal noise at
    every client, weights proportional to the signal are best (maximal-ratio combining), so
    noised sums are weighted by declared population over its mean; averages by its share;
    counts are plain sums. Robust rules weigh nobody.

    Attributes:
        step: what is combined.
        release: its noise.
        members: everybody who was asked, in order of name.
        mode: who adds the noise.
    """

    step: Step
    release: Release
    members: Sequence[Member]
    mode: Mode
    answered: list[Member] = field(default_factory=list)
    heads: dict[str, SignedHead] = field(default_factory=dict)
    bytes_up: int = 0
    _totals: dict[str, Floats] = field(default_factory=dict)
    _early: dict[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    _held: list[Mapping[str, NDArray[Any]]] = field(default_factory=list)
    _turn: int = 0

    def offer(self, member: Member, reply: Reply) -> None:
        """Take a release; it is added once everybody before its sender has been heard of."""
        if reply.head is not None:
            self.heads[member.name] = reply.head
        self.bytes_up += sum(array.nbytes for array in reply.arrays.values())
        self._early[member.name] = reply.arrays
        while self._turn < len(self.members) and self.members[self._turn].name in self._early:
            self._add(self.members[self._turn])
            self._turn += 1

    def total(self) -> tuple[NoisyTotal | None, dict[str, Floats]]:
        """The weighted total of all releases offered, and every combined array by name.

        There is no total of an `average` step: its arrays are states, not sums, and what
        noise is left in them is unknown.
        """
        for member in self.members[self._turn :]:
            if member.name in self._early:
                self._add(member)
        if (rule := self._robust) is not None:
            return None, robust_average(rule, self._held)
        raw = np.array([self._raw_weight(member) for member in self.answered])
        scale = self._scale(raw)
        for total in self._totals.values():
            total *= scale
        if self.step.aggregate == "average":
            return None, self._totals
        population = np.array([member.population for member in self.answered], dtype=np.float64)
        values = next(iter(self._totals.values()))
        weights = raw * scale
        return (
            NoisyTotal(
                values=values,
                noise_std=self.release.noise_std * float(np.sqrt(np.sum(weights**2))),
                population=float(weights @ population),
                sampling_rate=self.release.sampling_rate,
            ),
            self._totals,
        )

    def _add(self, member: Member) -> None:
        self.answered.append(member)
        released = self._early.pop(member.name)
        if self._robust is not None:
            self._held.append(released)
            return
        for name, array in released.items():
            if name not in self._totals:
                self._totals[name] = np.zeros(array.shape)
            weight = self._raw_weight(member)
            # in float64: a Python float times a float32 array would be rounded to float32
            self._totals[name] += np.multiply(array, weight, dtype=np.float64)

    @property
    def _robust(self) -> Aggregation | None:
        rule = self.step.combine
        return rule if rule is not None and rule.robust else None

    def _raw_weight(self, member: Member) -> float:
        kind = self.step.aggregate
        plain = kind == "count" or (kind == "sum" and self.mode == "none")
        return 1.0 if plain else float(member.population)

    def _scale(self, raw: Floats) -> float:
        if self.step.aggregate == "average":
            return 1.0 / float(raw.sum())
        return 1.0 / float(raw.mean())
