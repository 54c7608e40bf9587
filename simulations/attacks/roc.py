"""Receiver operating characteristics of an attack, and what a guarantee allows at best.

A test that tells a member from a non-member has a true-positive rate (TPR: members called
members) at a false-positive rate (FPR: non-members called members). Membership inference is
judged at low FPR: an attack that names a few people for sure is worse than one that is a
little right about everybody (Carlini et al. 2022, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri

from common.arrays import Floats, Ints
from common.errors import Code, DataError

__all__ = [
    "Point",
    "Promise",
    "Proportion",
    "Roc",
    "clopper_pearson",
    "largest_visible_epsilon",
    "roc_curve",
]

CONFIDENCE: Final = 0.95
_FEWEST: Final = 10
"""False positives that an FPR must stand for before a TPR at it means anything."""
_POINTS: Final = 200


@dataclass(frozen=True)
class Proportion:
    """`hits` of `of`, with the 95% interval of Clopper and Pearson."""

    hits: int
    of: int

    @property
    def rate(self) -> float:
        """The share."""
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper–Pearson, as if every trial were independent of the others."""
        return clopper_pearson(self.hits, self.of)

    def to_json(self) -> dict[str, Any]:
        """Rate, interval and counts."""
        low, high = self.interval
        return {"rate": self.rate, "low": low, "high": high, "hits": self.hits, "of": self.of}


@dataclass(frozen=True)
class Point:
    """The best TPR at an FPR of at most `limit`, and the FPR that it really has."""

    limit: float
    fpr: Proportion
    tpr: Proportion

    def to_json(self) -> dict[str, Any]:
        """The limit and both rates."""
        return {"limit": self.limit, "fpr": self.fpr.to_json(), "tpr": self.tpr.to_json()}


@dataclass(frozen=True)
class Roc:
    """Every threshold of a score, from "nobody is a member" to "everybody is".

    Attributes:
        true_positives: `[thresholds]`, members at or above each threshold, increasing.
        false_positives: `[thresholds]`, non-members at or above it, increasing.
        members, non_members: how many there are.
    """

    true_positives: Ints
    false_positives: Ints
    members: int
    non_members: int

    @property
    def tpr(self) -> Floats:
        """`[thresholds]`."""
        return np.asarray(self.true_positives / self.members, dtype=np.float64)

    @property
    def fpr(self) -> Floats:
        """`[thresholds]`."""
        return np.asarray(self.false_positives / self.non_members, dtype=np.float64)

    @property
    def auc(self) -> float:
        """Area under the curve: chance that a member scores above a non-member, ties half."""
        return float(np.trapezoid(self.tpr, self.fpr))

    @property
    def lowest_fpr(self) -> float:
        """The smallest FPR that means anything: ten false positives."""
        return _FEWEST / self.non_members

    def at(self, limit: float) -> Point | None:
        """The best TPR at an FPR of at most `limit`; None where too few non-members tell it."""
        if limit * self.non_members < _FEWEST * (1 - 1e-9):
            return None
        allowed = math.floor(limit * self.non_members * (1 + 1e-12))
        last = int(np.searchsorted(self.false_positives, allowed, side="right")) - 1
        return Point(
            limit,
            Proportion(int(self.false_positives[last]), self.non_members),
            Proportion(int(self.true_positives[last]), self.members),
        )

    def to_json(self) -> dict[str, Any]:
        """The curve in at most 200 points, dense where FPR is low."""
        chosen = _thinned(self.false_positives)
        return {
            "members": self.members,
            "non_members": self.non_members,
            "auc": self.auc,
            "fpr": self.fpr[chosen].tolist(),
            "tpr": self.tpr[chosen].tolist(),
        }


@dataclass(frozen=True)
class Promise:
    """What a guarantee allows any test at best, for one user added or removed.

    Attributes:
        epsilon, delta: TPR <= e^ε FPR + δ and 1 - FPR <= e^ε (1 - TPR) + δ (Wasserman,
            Zhou 2010, theorem 2.4; Kairouz, Oh, Viswanath 2015, theorem 2.1).
        mu: of the μ-GDP that unsampled Gaussian sums give, TPR <= Φ(Φ⁻¹(FPR) + μ) (Dong,
            Roth, Su 2022, definition 2.6); None where sums are sampled.
    """

    epsilon: float
    delta: float
    mu: float | None = None

    def by_epsilon(self, fpr: Floats) -> Floats:
        """Largest TPR under (ε, δ) at each FPR."""
        first = np.exp(min(self.epsilon, 700.0)) * fpr + self.delta
        second = 1.0 - np.exp(-self.epsilon) * (1.0 - self.delta - fpr)
        return np.asarray(np.clip(np.minimum(first, second), 0.0, 1.0), dtype=np.float64)

    def by_mu(self, fpr: Floats) -> Floats | None:
        """Largest TPR under μ-GDP at each FPR."""
        if self.mu is None:
            return None
        return np.asarray(ndtr(ndtri(fpr) + self.mu), dtype=np.float64)

    def tpr(self, fpr: Floats) -> Floats:
        """Largest TPR at each FPR by whichever of the two is smaller."""
        pair, curve = self.by_epsilon(fpr), self.by_mu(fpr)
        return pair if curve is None else np.minimum(pair, curve)

    @property
    def auc(self) -> float:
        """Largest area under a curve: Φ(μ/√2), or that under the bound by (ε, δ)."""
        if self.mu is not None:
            return float(ndtr(self.mu / math.sqrt(2)))
        odds = math.exp(-min(self.epsilon, 700.0))
        corner = (1.0 - self.delta) * odds / (1.0 + odds)  # where both lines meet
        fpr = np.array([0.0, corner, 1.0 - self.delta, 1.0])
        return float(np.trapezoid(self.by_epsilon(fpr), fpr))

    def to_json(self) -> dict[str, Any]:
        """Parameters and area."""
        return {"epsilon": self.epsilon, "delta": self.delta, "mu": self.mu, "auc": self.auc}


def roc_curve(members: Floats, non_members: Floats) -> Roc:
    """The curve of a score that is larger for members.

    Args:
        members: `[members]`, scores, not nan.
        non_members: `[non-members]`.

    Raises:
        DataError: `data-empty`, nobody on one side; `data-format`, a score that is nan.
    """
    if len(members) == 0 or len(non_members) == 0:
        raise DataError(Code.DATA_EMPTY, "no member or no non-member.", where="ROC")
    scores = np.concatenate([members, non_members])
    if np.isnan(scores).any():
        raise DataError(Code.DATA_FORMAT, "a score is not a number.", where="ROC")
    is_member = np.arange(len(scores)) < len(members)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(is_member[order])[ends]
    return Roc(
        np.concatenate([[0], hits]).astype(np.int64),
        np.concatenate([[0], ends + 1 - hits]).astype(np.int64),
        len(members),
        len(non_members),
    )


def clopper_pearson(hits: int, of: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided exact interval of a proportion (Clopper, Pearson 1934).

    Args:
        hits: successes, from 0 to `of`.
        of: independent trials, at least 1.
        confidence: of the interval; half of the rest on each side.
    """
    tail = (1.0 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, of - hits + 1, tail))
    high = 1.0 if hits == of else float(betaincinv(hits + 1, of - hits, 1.0 - tail))
    return low, high


def largest_visible_epsilon(members: int, non_members: int, delta: float) -> float:
    """The ε that a perfect attack on so many would show at 95%: no attack shows more.

    All members and no non-member are named; the bounds of Clopper and Pearson on both rates
    share the 5%. ε >= ln((TPR - δ) / FPR).
    """
    tpr, _ = clopper_pearson(members, members)
    _, fpr = clopper_pearson(0, non_members)
    return math.log(max(tpr - delta, fpr) / fpr)


def _thinned(false_positives: Ints) -> Ints:
    """Positions of at most 200 thresholds, both ends among them, evenly in log FPR."""
    count = len(false_positives)
    if count <= _POINTS:
        return np.arange(count)
    wanted = np.geomspace(1.0, float(false_positives[-1]) + 1.0, _POINTS - 2) - 1.0
    found = np.searchsorted(false_positives, wanted, side="right") - 1
    return np.unique(np.concatenate([[0], found, [count - 1]])).astype(np.int64)
