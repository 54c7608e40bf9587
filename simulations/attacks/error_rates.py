"""From many repetitions on two neighbouring inputs to a lower bound on ε; statistics only.

A test that says `in` above a threshold has a false-positive rate (FPR, without the user) and
a false-negative rate (FNR, with them). Under (ε, δ)-DP every test has FPR + e^ε FNR ≥ 1 - δ
and FNR + e^ε FPR ≥ 1 - δ (Kairouz, Oh, Viswanath 2015, theorem 2.1), under μ-GDP
Φ⁻¹(1 - FPR) - Φ⁻¹(FNR) ≤ μ (Dong, Roth, Su 2022, equation 6). Both rates are bounded from
above by Clopper and Pearson, each at half of what the confidence leaves, at a threshold that
was chosen on other samples (Nasr et al. 2023, "Tight auditing of differentially private
machine learning", section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

from common.arrays import Floats
from common.errors import Code, ConfigError
from simulations.attacks.bounds import epsilon_of_mu

__all__ = ["ErrorRates", "SplitBound", "many_run_ceiling", "split_bound", "upper_rate"]

_THRESHOLDS: Final = 400
_CAUTION: Final = 0.01
"""Thresholds are compared at this share of the level: a rare one must not win by its luck."""


def upper_rate(errors: Any, trials: int, level: float) -> Floats:
    """Upper bound of Clopper and Pearson: below the true rate with probability ≤ `level`.

    Args:
        errors: counts, a number or an array.
        trials: how many there were of each.
        level: one minus the confidence, of one side.
    """
    counts = np.asarray(errors, dtype=np.float64)
    bounds = betaincinv(counts + 1, np.maximum(trials - counts, 1), 1.0 - level)
    return np.where(counts < trials, bounds, 1.0)


@dataclass(frozen=True)
class ErrorRates:
    """How often one fixed test was wrong.

    Attributes:
        false_positives: of `runs` without the user.
        false_negatives: of `runs` with the user.
        runs: on each side.
        confidence: that every bound made of this holds.
    """

    false_positives: int
    false_negatives: int
    runs: int
    confidence: float

    def __post_init__(self) -> None:
        errors = (self.false_positives, self.false_negatives)
        if not all(0 <= count <= self.runs for count in errors) or self.runs < 1:
            raise _invalid(f"{errors} errors in {self.runs} runs")
        if not 0.5 <= self.confidence < 1:
            raise _invalid(f"a confidence of {self.confidence:g} is not between 0.5 and 1")

    @property
    def upper(self) -> tuple[float, float]:
        """What FPR and FNR are below, both at once, with the confidence."""
        level = (1.0 - self.confidence) / 2
        counts = np.array([self.false_positives, self.false_negatives])
        positive, negative = upper_rate(counts, self.runs, level)
        return float(positive), float(negative)

    def epsilon(self, delta: float) -> float:
        """Lower bound on ε at `delta`, 0 for none."""
        positive, negative = np.array(self.upper).reshape(2, 1)
        return float(_epsilons(positive, negative, delta)[0])

    @property
    def mu(self) -> float:
        """Lower bound on μ of a Gaussian-DP mechanism, 0 for none."""
        positive, negative = np.array(self.upper).reshape(2, 1)
        return float(_mus(positive, negative)[0])


@dataclass(frozen=True)
class SplitBound:
    """Lower bounds on ε, each at a threshold that other samples chose.

    Attributes:
        epsilon: for any mechanism, at `delta`.
        mu: for a Gaussian-DP mechanism.
        gaussian_epsilon: what `mu` is at `delta`.
        delta: δ of both.
        confidence: of each of them.
        runs: that were judged, on each side.
    """

    epsilon: float
    mu: float
    gaussian_epsilon: float
    delta: float
    confidence: float
    runs: int


def split_bound(without: Floats, having: Floats, delta: float, confidence: float) -> SplitBound:
    """Choose thresholds on the first half of the samples, judge them on the second.

    Args:
        without: a statistic of each run on the smaller neighbour, `[runs]`, larger where the
            user seems to be in.
        having: the same on the larger neighbour, `[runs]`.
        delta: δ.
        confidence: of each bound.

    Raises:
        ConfigError: `config-invalid`, fewer than four runs, not as many on both sides, or a
            confidence or δ that cannot be meant.
    """
    runs = len(without)
    if runs < 4 or len(having) != runs or not 0 <= delta < 1:
        raise _invalid(f"{runs} and {len(having)} runs at δ = {delta:g}")
    half = runs // 2
    chosen = _best_thresholds(without[:half], having[:half], delta, confidence)
    by_epsilon, by_mu = (
        ErrorRates(
            int(np.sum(without[half:] > threshold)),
            int(np.sum(having[half:] <= threshold)),
            runs - half,
            confidence,
        )
        for threshold in chosen
    )
    return SplitBound(
        epsilon=by_epsilon.epsilon(delta),
        mu=by_mu.mu,
        gaussian_epsilon=epsilon_of_mu(by_mu.mu, delta),
        delta=delta,
        confidence=confidence,
        runs=runs - half,
    )


def many_run_ceiling(runs: int, confidence: float = 0.95, delta: float = 0.0) -> float:
    """The ε that a test without an error in `runs` runs on each side would show.

    Raises:
        ConfigError: `config-invalid`.
    """
    return ErrorRates(0, 0, runs, confidence).epsilon(delta)


def _best_thresholds(
    without: Floats, having: Floats, delta: float, confidence: float
) -> tuple[float, float]:
    """The thresholds whose bounds on ε and μ are best on these samples."""
    pooled = np.sort(np.concatenate([without, having]))
    places = np.unique(_places(len(pooled) - 1))
    candidates = (pooled[places] + pooled[places + 1]) / 2
    positive = len(without) - np.searchsorted(np.sort(without), candidates, side="right")
    negative = np.searchsorted(np.sort(having), candidates, side="right")
    level = _CAUTION * (1.0 - confidence) / 2
    rates = upper_rate(positive, len(without), level), upper_rate(negative, len(having), level)
    best_epsilon, best_mu = np.argmax(_epsilons(*rates, delta)), np.argmax(_mus(*rates))
    return float(candidates[best_epsilon]), float(candidates[best_mu])


def _places(count: int) -> NDArray[np.int64]:
    """Ranks of the candidates among `count` gaps: dense at both ends, and the middle one."""
    far = np.geomspace(1, count, _THRESHOLDS).astype(np.int64) - 1
    return np.concatenate([far, count - 1 - far, [count // 2]])


def _epsilons(positive: Floats, negative: Floats, delta: float) -> Floats:
    def one_way(first: Floats, second: Floats) -> Floats:
        return np.log(np.maximum(1.0 - delta - first, 1e-300) / second)

    both = np.maximum(one_way(positive, negative), one_way(negative, positive))
    return np.maximum(both, 0.0)


def _mus(positive: Floats, negative: Floats) -> Floats:
    return np.maximum(-ndtri(positive) - ndtri(negative), 0.0)


def _invalid(what: str) -> ConfigError:
    return ConfigError(Code.CONFIG_INVALID, f"{what}.", where="audit bound")
