"""The audits' bounds beside those of jax_privacy, on the same guesses and scores.

`python -m simulations.attacks.comparison cases CASES` writes them, `jax_privacy_values` adds
theirs in an environment of its own, and `python -m simulations.attacks.comparison page THEIRS`
writes docs/results/audit-jax-privacy.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from common.arrays import Floats
from common.files import write_atomic
from simulations.attacks.bounds import (
    epsilon_of_mu,
    one_run_epsilon,
    one_run_mu,
    one_run_p_value,
)
from simulations.attacks.error_rates import ErrorRates, split_bound
from simulations.attacks.guesses import guess, guesses_each_way
from simulations.attacks.many_run import ManyRunSettings, sampled_runs
from simulations.attacks.one_run import OneRunSettings, scored_run
from simulations.results.pages import write_page

__all__ = ["AGREEMENT", "cases", "main", "our_values"]

AGREEMENT: Final = 1e-4
"""Largest difference of a bound that counts as the same: both search to about 1e-6."""
_LEVEL: Final = 0.05
_DELTA: Final = 1e-5
_DIGITS: Final = 6
_CANARIES: Final = 400
_ONE_RUN: Final = "one run, ε = 4"
_NO_NOISE: Final = "one run, no noise"
_MANY_RUNS: Final = "many runs, ε = 4"
_NOTHING: Final = "many runs, no difference"
_NOTES: Final = """
`jax_privacy.auditing` 2.0.0 (PyPI), in an environment of its own, and `simulations.attacks` on
the same counts and the same scores: p-values of the one-run theorem, bounds on ε from counts of
right guesses (whatever the mechanism, and for a Gaussian one), and bounds from error rates at a
threshold given to both. Scores are of real audits, small ones: 400 canaries of one run at ε = 4
(solver `subspace`), of one run without noise, and 400 draws on each side of the many-run audit
(`popularity`), with noise from a seed; and, for a check, normals without any difference. `largest
difference` is over all cases of a kind. A test holds the frozen values of theirs in the `.json`
against the code. δ = 1e-5 on scores, 95% confidence.

How the two differ in use, not in numbers: jax_privacy's one-run functions take guesses of `in`
alone and correct for every possible threshold, its others judge on the samples that chose the
threshold and correct for all of them (`all_thresholds`), or not at all (`epsilon_clopper_pearson`
with its default); ours name canaries both ways, with one or two numbers of guesses fixed before
the run, and choose thresholds on one half of the runs to judge on the other (`as audited`).
Bounds from error rates take scores for independent runs, which the canaries of one run are not.
`gaussian` bounds hold for a mechanism that is Gaussian-DP, and say nothing of one without noise.

One of theirs is not used here, and should not be: `epsilon_from_gdp` (`all_thresholds_gaussian`)
takes the absolute value of a difference of upper bounds, and so shows an ε where there is none, as
the last rows say. It is known: google-deepmind/jax_privacy, pull request 270, closed, not in 2.0.0.
"""


def cases() -> Iterator[dict[str, Any]]:
    """Counts and scores, as JSON can hold them."""
    for canaries, guesses in ((10, 10), (1000, 100), (1000, 904), (10_000, 240)):
        for share in (0.8, 0.95, 1.0):
            counts = {
                "canaries": canaries,
                "guesses": guesses,
                "correct": round(share * guesses),
            }
            for delta in (1e-8, 1e-5, 1e-3):
                yield {"kind": "one-run", **counts, "level": _LEVEL, "delta": delta}
                for epsilon in (0.5, 4.0):
                    yield {"kind": "p-value", **counts, "epsilon": epsilon, "delta": delta}
    epsilons: dict[str, float | None] = {_ONE_RUN: 4.0, _NO_NOISE: None}
    for name, target in epsilons.items():
        settings = OneRunSettings(epsilon=target, canaries=_CANARIES, fixed_noise=True)
        scores, included, _ = scored_run(settings)
        yield _scores_case(name, scores[~included], scores[included], 25)
    drawn = ManyRunSettings(solver="popularity", runs=_CANARIES, fixed_noise=True)
    _, without, having = sampled_runs(drawn)
    yield _scores_case(_MANY_RUNS, without, having, 50)
    same = np.random.default_rng(0).standard_normal((2, _CANARIES))
    yield _scores_case(_NOTHING, same[0], same[1], 50)


def _scores_case(name: str, without: Floats, having: Floats, above: int) -> dict[str, Any]:
    """Scores of both sides, as many of each, and a threshold with `above` scores over it."""
    count = min(len(without), len(having))
    pooled = np.sort(np.concatenate([without[:count], having[:count]]))
    threshold = float(pooled[-above - 1] + pooled[-above]) / 2
    return {
        "kind": "scores",
        "name": name,
        "without": [round(float(value), _DIGITS) for value in without[:count]],
        "with": [round(float(value), _DIGITS) for value in having[:count]],
        "threshold": round(threshold, _DIGITS),
        "level": _LEVEL,
        "delta": _DELTA,
    }


def our_values(case: Mapping[str, Any]) -> dict[str, float]:
    """What our bounds make of a case; names as `jax_privacy_values` gives them."""
    if case["kind"] == "p-value":
        counts = (case["canaries"], case["guesses"], case["correct"])
        return {"p_value": one_run_p_value(*counts, case["epsilon"], case["delta"])}
    confidence, delta = 1.0 - case["level"], case["delta"]
    if case["kind"] == "one-run":
        counts = (case["canaries"], case["guesses"], case["correct"])
        epsilon = one_run_epsilon(*counts, delta, confidence)
        mu = one_run_mu(*counts, confidence)
        return {"epsilon": epsilon, "gaussian_epsilon": epsilon_of_mu(mu, delta)}
    without, having = np.array(case["without"]), np.array(case["with"])
    above, wrong = having >= case["threshold"], without >= case["threshold"]
    counts = (2 * len(having), int(above.sum() + wrong.sum()), int(above.sum()))
    mu = one_run_mu(*counts, confidence)
    rates = ErrorRates(int(wrong.sum()), int((~above).sum()), len(having), confidence)
    return {
        "one_run_epsilon": one_run_epsilon(*counts, delta, confidence),
        "one_run_gaussian_epsilon": epsilon_of_mu(mu, delta),
        "many_run_epsilon": rates.epsilon(delta),
    }


def _page(theirs: Path, out: Path) -> None:
    body = json.loads(theirs.read_text())
    ours = [our_values(case) for case in body["cases"]]
    write_page(
        out,
        "audit-jax-privacy",
        title="The audits' bounds beside jax_privacy's",
        command="python -m simulations.attacks.comparison cases cases.json\n"
        "ENVIRONMENT/bin/python simulations/attacks/jax_privacy_values.py cases.json theirs.json\n"
        "python -m simulations.attacks.comparison page theirs.json",
        notes=_NOTES,
        rows=[{**case, "jax_privacy": body["jax_privacy"]} for case in body["cases"]],
        tables={
            "Same counts, same scores, same threshold": _differences(body["cases"], ours),
            "On real scores": _real(body["cases"], ours),
        },
    )


def _differences(found: list[dict[str, Any]], ours: list[dict[str, float]]) -> pd.DataFrame:
    rows: dict[tuple[str, str], list[float]] = {}
    for case, mine in zip(found, ours, strict=True):
        for name, value in mine.items():
            difference = abs(value - case["theirs"][name])
            rows.setdefault((case["kind"], name), []).append(difference)
    return pd.DataFrame(
        [
            {"of": kind, "value": name, "cases": len(all_), "largest difference": max(all_)}
            for (kind, name), all_ in rows.items()
        ]
    )


def _real(found: list[dict[str, Any]], ours: list[dict[str, float]]) -> pd.DataFrame:
    rows = []
    for case, mine in zip(found, ours, strict=True):
        if case["kind"] != "scores":
            continue
        here = {**mine, **_as_audited(case)}
        rows += [
            {
                "scores": case["name"],
                "bound": name,
                "jax_privacy": case["theirs"].get(name, math.nan),
                "here": here.get(name, math.nan),
            }
            for name in {**case["theirs"], **here}
        ]
    return pd.DataFrame(rows)


def _as_audited(case: Mapping[str, Any]) -> dict[str, float]:
    """What our own audit makes of the scores, in its own way."""
    without, having = np.array(case["without"]), np.array(case["with"])
    confidence, delta = 1.0 - case["level"], case["delta"]
    if case["name"] in (_MANY_RUNS, _NOTHING):
        bound = split_bound(without, having, delta, confidence)
        epsilon, gaussian = bound.epsilon, bound.gaussian_epsilon
    else:
        promised = None if case["name"] == _NO_NOISE else 4.0
        included = np.repeat([False, True], len(having))
        scores = np.concatenate([without, having])
        each_way = guesses_each_way(len(scores), promised, delta, confidence)
        trials = guess(scores, included, each_way, delta, confidence)
        epsilon = max(trial.epsilon for trial in trials)
        gaussian = epsilon_of_mu(max(trial.mu for trial in trials), delta)
    return {"as audited, epsilon": epsilon, "as audited, gaussian_epsilon": gaussian}


def main() -> None:
    """Write cases or the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["cases", "page"])
    parser.add_argument("file", type=Path, help="cases to write, or what jax_privacy said of them")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="where pages go")
    given = parser.parse_args()
    if given.what == "cases":
        write_atomic(given.file, (json.dumps(list(cases())) + "\n").encode())
    else:
        _page(given.file, given.out)


if __name__ == "__main__":
    main()
