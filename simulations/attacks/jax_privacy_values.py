"""What jax_privacy says of the same guesses and scores; runs in an environment of its own.

`ENVIRONMENT/bin/python simulations/attacks/jax_privacy_values.py CASES THEIRS`, where the
environment has `pip install jax-privacy==2.0.0` and nothing of this project. Reads the cases
that `simulations.attacks.comparison` wrote and adds what `jax_privacy.auditing` makes of each.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["main", "their_values"]


def their_values(auditing: Any, case: dict[str, Any]) -> dict[str, float]:
    """The values of one case.

    Args:
        auditing: the module `jax_privacy.auditing`.
        case: `kind` and its numbers.
    """
    if case["kind"] == "p-value":
        numbers = [case[name] for name in ("canaries", "guesses", "correct", "epsilon", "delta")]
        return {"p_value": float(auditing._one_run_p_value(*numbers))}  # noqa: SLF001
    if case["kind"] == "one-run":
        numbers = [case[name] for name in ("canaries", "guesses", "correct", "level", "delta")]
        return {
            "epsilon": float(auditing._epsilon_one_run(0, *numbers)),  # noqa: SLF001
            "gaussian_epsilon": float(auditing._epsilon_one_run_fdp(0, *numbers)),  # noqa: SLF001
        }
    return _of_scores(auditing, case)


def _of_scores(auditing: Any, case: dict[str, Any]) -> dict[str, float]:
    auditor = auditing.CanaryScoreAuditor(case["with"], case["without"])
    cut = auditing.Explicit(case["threshold"])
    level, delta = case["level"], case["delta"]
    two_sided = {"one_sided": False, "threshold_strategy": cut}
    return {
        "one_run_epsilon": float(auditor.epsilon_one_run(level, delta, threshold_strategy=cut)),
        "one_run_gaussian_epsilon": float(
            auditor.epsilon_one_run_fdp(level, delta, threshold_strategy=cut)
        ),
        "many_run_epsilon": float(auditor.epsilon_clopper_pearson(level, delta, **two_sided)),
        "all_thresholds_epsilon": float(auditor.epsilon_clopper_pearson(level, delta)),
        "all_thresholds_gaussian_epsilon": float(auditor.epsilon_from_gdp(level, delta)),
        "all_thresholds_one_run_epsilon": float(auditor.epsilon_one_run(level, delta)),
    }


def main() -> None:
    """Read the cases, write their values beside them."""
    cases, theirs = Path(sys.argv[1]), Path(sys.argv[2])
    auditing = importlib.import_module("jax_privacy.auditing")
    found = [
        {**case, "theirs": their_values(auditing, case)} for case in json.loads(cases.read_text())
    ]
    body = {"jax_privacy": metadata.version("jax-privacy"), "cases": found}
    theirs.write_text(json.dumps(body) + "\n")


if __name__ == "__main__":
    main()
