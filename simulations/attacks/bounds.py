"""From right guesses about canaries of one run to a lower bound on ε; statistics only.

One run, m canaries, each in by a fair coin of its own; the auditor names r of them `in` or
`out` and is right v times.

`one_run_epsilon`: under (ε, δ)-DP the number of right guesses is at least v with probability
at most `one_run_p_value` (Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1)
training run", theorem 5.2 and algorithm of appendix D, whatever the mechanism).
`one_run_mu`: the same under μ-GDP, which says more than one pair (ε, δ) (Mahloujifar, Melis,
Chaudhuri 2024, "Auditing f-differential privacy in one run", algorithm 3).
Both look for the largest value that the guesses contradict at the confidence asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from scipy.special import bdtrc, ndtr, ndtri

from common.errors import Code, ConfigError
from common.privacy.gdp import gaussian_epsilon

__all__ = [
    "epsilon_of_mu",
    "one_run_ceiling",
    "one_run_epsilon",
    "one_run_mu",
    "one_run_p_value",
]

_LARGEST_EPSILON: Final = 64.0
_LARGEST_MU: Final = 32.0
_LEAST_MU: Final = 1e-6
_HALVINGS: Final = 40


def one_run_p_value(
    canaries: int, guesses: int, correct: int, epsilon: float, delta: float
) -> float:
    """Largest probability of at least `correct` right guesses under (`epsilon`, `delta`)-DP.

    With q = e^ε / (1 + e^ε) and f(v) = P[Binomial(r, q) ≥ v]:
    f(v) + 2 m δ · max_{1 ≤ i ≤ v} (f(v - i) - f(v)) / i.

    Raises:
        ConfigError: `config-invalid` unless 0 ≤ correct ≤ guesses ≤ canaries, ε ≥ 0 and
            0 ≤ δ ≤ 1.
    """
    _check_counts(canaries, guesses, correct)
    if not (epsilon >= 0 and 0 <= delta <= 1):
        raise _invalid(f"ε = {epsilon:g} and δ = {delta:g} are no guarantee")
    right = 1.0 / (1.0 + math.exp(-epsilon))
    tail = _at_least(np.array([correct]), guesses, right)[0]
    if delta == 0 or correct == 0:
        return float(tail)
    steps = np.arange(1, correct + 1)
    slopes = (_at_least(correct - steps, guesses, right) - tail) / steps
    return min(1.0, float(tail + 2 * canaries * delta * slopes.max()))


def one_run_epsilon(
    canaries: int, guesses: int, correct: int, delta: float, confidence: float = 0.95
) -> float:
    """Lower bound on ε at `delta` that holds with probability `confidence`; 0 for none.

    A mechanism that is (ε', δ)-DP is (ε, δ)-DP for every larger ε, and more right guesses
    contradict more: so any contradicted ε is a bound, and bisection ends on one.

    Raises:
        ConfigError: `config-invalid`, counts, δ or confidence that cannot be meant.
    """
    level = _level(confidence)
    return _largest(
        lambda epsilon: one_run_p_value(canaries, guesses, correct, epsilon, delta) < level,
        _LARGEST_EPSILON,
    )


def one_run_ceiling(canaries: int, confidence: float = 0.95, delta: float = 0.0) -> float:
    """The ε that perfect guesses about all canaries would show: more cannot be seen.

    5.8 for 1,000 canaries at 95% and δ = 0.

    Raises:
        ConfigError: `config-invalid`.
    """
    return one_run_epsilon(canaries, canaries, canaries, delta, confidence)


def one_run_mu(canaries: int, guesses: int, correct: int, confidence: float = 0.95) -> float:
    """Lower bound on μ of a mechanism that is Gaussian-DP, with probability `confidence`.

    `epsilon_of_mu` turns it into ε. For a mechanism that promises no
    μ (sampled users) it is no bound.

    Raises:
        ConfigError: `config-invalid`, counts or confidence that cannot be meant.
    """
    _check_counts(canaries, guesses, correct)
    level = _level(confidence)
    if correct == 0:
        return 0.0
    return _largest(lambda mu: _contradicts(mu, canaries, guesses, correct, level), _LARGEST_MU)


def epsilon_of_mu(mu: float, delta: float) -> float:
    """What a lower bound on μ says of ε at `delta`; 0 for next to nothing, infinite at δ = 0."""
    if mu < _LEAST_MU:
        return 0.0
    return gaussian_epsilon(mu, delta) if delta > 0 else math.inf


def _contradicts(mu: float, canaries: int, guesses: int, correct: int, level: float) -> bool:
    """Whether μ-GDP gives `correct` right of `guesses` a probability below `level`.

    The recursion bounds h, the mass of wrong guesses, and r, that of right ones, from above
    to below: more right guesses need more mass of wrong ones. All of it is `guesses` over
    `canaries`; if more is needed, the counts were too unlikely.
    """
    right, wrong = level * correct / canaries, level * (guesses - correct) / canaries
    for left in range(correct - 1, -1, -1):
        needed = max(wrong, float(ndtr(ndtri(right) - mu)))
        if needed == wrong:
            break
        right = min(right + left / (guesses - left) * (needed - wrong), 1.0)
        wrong = needed
    return right + wrong > guesses / canaries


def _at_least(counts: np.ndarray, trials: int, chance: float) -> np.ndarray:
    """P[Binomial(trials, chance) ≥ count] for each count from 0 on."""
    found = np.ones(len(counts))
    some = counts > 0
    found[some] = bdtrc(counts[some] - 1, trials, chance)
    return found


def _largest(contradicted: Callable[[float], bool], most: float) -> float:
    """The end of the contradicted values that begin at 0; 0 if there are none."""
    low, high = 0.0, most
    if not contradicted(low):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if contradicted(middle) else (low, middle)
    return low


def _level(confidence: float) -> float:
    if not 0.5 <= confidence < 1:
        raise _invalid(f"a confidence of {confidence:g} is not between 0.5 and 1")
    return 1.0 - confidence


def _check_counts(canaries: int, guesses: int, correct: int) -> None:
    if not (0 <= correct <= guesses <= canaries and canaries > 0):
        raise _invalid(f"{correct} right of {guesses} guesses about {canaries} canaries")


def _invalid(what: str) -> ConfigError:
    return ConfigError(Code.CONFIG_INVALID, f"{what}.", where="audit bound")
