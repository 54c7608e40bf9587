"""`python -m simulations.results attacks`: bounds beside promises, for every solver."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.special import ndtr

from common.privacy.gdp import gaussian_mu
from simulations.attacks.bounds import epsilon_of_mu, one_run_epsilon, one_run_mu
from simulations.attacks.error_rates import ErrorRates
from simulations.attacks.guesses import accuracy, guesses_each_way
from simulations.attacks.many_run import ManyRunSettings, audit_many_run
from simulations.attacks.one_run import OneRunSettings, audit_one_run
from simulations.results.pages import write_page

__all__ = [
    "EXPECTED",
    "MANY_RUNS",
    "ONE_RUNS",
    "expected_many_run",
    "expected_one_run",
    "run_attacks",
]

ONE_RUNS: Final[Sequence[dict[str, Any]]] = (
    *({"solver": s, "epsilon": None} for s in ("popularity", "subspace", "ials", "dpsgd")),
    *({"solver": s, "epsilon": 4.0} for s in ("popularity", "subspace", "dpsgd")),
    {"solver": "dpsgd", "epsilon": 4.0, "known_states": False},
    *({"solver": "subspace", "epsilon": epsilon} for epsilon in (1.0, 8.0)),
    *({"solver": s, "epsilon": 4.0, "canaries": 10_000} for s in ("popularity", "subspace")),
)
"""Settings of each one-run audit beside the defaults."""

MANY_RUNS: Final[Sequence[dict[str, Any]]] = (
    *(
        {"solver": "popularity", "part": "plan", "runs": 100_000, **defect}
        for defect in ({}, {"noise_share": 0.5}, {"clips_events": True})
    ),
    *(
        {"solver": "subspace", "part": "step", "runs": 100_000, **defect}
        for defect in ({}, {"noise_share": 0.5}, {"clips_events": True})
    ),
    *(
        {"solver": solver, "part": "plan", "runs": 20_000, **defect}
        for solver in ("subspace", "dpsgd")
        for defect in ({}, {"noise_share": 0.5})
    ),
)
"""Settings of each many-run audit beside the defaults."""

EXPECTED: Final = (1_000, 10_000, 100_000)
"""Canaries for which the page says what is to be expected."""

_NOTES: Final = """
Lower bounds on ε with 95% confidence each, beside what the plan promises: by PLD, user level
(add/remove one user), mode `local` at each client, δ = 1e-5. Default plans at a target of ε = 4
unless the row says otherwise; the plan's ε is a little less, since it aims at the client's filter.

One run: 1,000 canaries in a shadow shop of 1,000 synthetic users, through scenario, prepared
folder, ClientApp, guard, policy, ledger and release gate; each is in by a fair coin. `any`
holds whatever the mechanism (Steinke, Nasr, Jagielski 2023), `gaussian` for a Gaussian-DP
one (Mahloujifar, Melis, Chaudhuri 2024). `ceiling` is what perfect guesses about all canaries
would show. Guesses were fixed in number before each run. In `dpsgd` the auditor, who plays the
server, sets a learning rate of 0.001, and so knows the states between local steps; the row
`default` has the default rate.

Many runs: a fresh mechanism for each planned release, again and again, on neighbours that
differ by one user with a whole clip on each of four rows. `one sum` is the dearest sum of the
plan, otherwise a draw is all sums of the plan and their log-likelihood ratio. Half of the draws
choose the threshold. `half noise` and `clips events` are broken on purpose; `broken` says
that a bound exceeds the promise. A kept promise is called broken in at most 5% of audits by
each of the two bounds.

How tight: the many-run bound for a Gaussian mechanism ends 3% below the promise with 100,000
draws of a whole plan, 9% to 12% below it with 20,000 draws or for one small sum. Bounds for any
mechanism stay at about half of it: at a small δ they need errors so rare that runs do not show
them. The one-run bound sees a third of the promise: one run is one draw of each canary's noise.
Without known states (`dpsgd, default`) the auditor hardly follows the gradients: a bound near 0
says that this attack is weak there, and nothing of the mechanism. `What it would take` says what
is to be expected from more canaries or runs if the promise of ε = 4 is exactly met.
Beside jax_privacy: [the same bounds](audit-jax-privacy.md).
Exact figures of a simulation, not a private release.
"""


def run_attacks(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]) -> None:
    """All cases; writes `audit-attacks`."""
    del data
    one, many = [], []
    for case in ONE_RUNS:
        for seed in seeds:
            one.append(_one_run({**case, "seed": seed}))
            tell(str(one[-1]))
    for case in MANY_RUNS:
        many.append(_many_run(case))
        tell(str(many[-1]))
    write_page(
        out,
        "audit-attacks",
        title="What a promise lets show: one run with canaries, one step many times",
        command=f"python -m simulations.results attacks --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES,
        rows=[*one, *many],
        tables={
            "One run (means over seeds)": _mean(one),
            "Many runs": pd.DataFrame(many).drop(columns=["attack"]),
            "What it would take: one run at ε = 4": pd.DataFrame(
                [expected_one_run(canaries) for canaries in EXPECTED]
            ),
            "What it would take: many runs at ε = 4": pd.DataFrame(
                [expected_many_run(10**power) for power in range(3, 8)]
            ),
        },
    )


def expected_one_run(canaries: int, epsilon: float = 4.0, delta: float = 1e-5) -> dict[str, Any]:
    """The bounds that as many right guesses as are to be expected would show, at 95%."""
    mu = gaussian_mu(epsilon, delta)
    each_way = guesses_each_way(canaries, epsilon, delta, 0.95)[0]
    right = math.floor(2 * each_way * accuracy(each_way / canaries, mu))
    counts = (canaries, 2 * each_way, right)
    return {
        "canaries": canaries,
        "guesses": 2 * each_way,
        "right": right,
        "any": one_run_epsilon(*counts, delta, 0.975),
        "gaussian": epsilon_of_mu(one_run_mu(*counts, 0.975), delta),
    }


def expected_many_run(runs: int, epsilon: float = 4.0, delta: float = 1e-5) -> dict[str, Any]:
    """The bounds that the error rates of the best threshold would show, at 95%."""
    mu, judged = gaussian_mu(epsilon, delta), runs - runs // 2
    thresholds = np.linspace(-1.0, mu + 6.0, 500)
    rates = [
        ErrorRates(round(judged * ndtr(-at)), round(judged * ndtr(at - mu)), judged, 0.95)
        for at in thresholds
    ]
    return {
        "runs": runs,
        "any": max(one.epsilon(delta) for one in rates),
        "gaussian": epsilon_of_mu(max(one.mu for one in rates), delta),
    }


def _one_run(case: Mapping[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    values = audit_one_run(OneRunSettings.load(case)).to_json()
    rate = "default" if case.get("known_states") is False else ""
    return {
        "attack": "one-run",
        "solver": case["solver"] if not rate else f"{case['solver']}, {rate}",
        "target": "no noise" if case["epsilon"] is None else case["epsilon"],
        "canaries": values["canaries"],
        "seed": case["seed"],
        "promised": values["promised_epsilon"],
        "any": values["epsilon_bound"],
        "gaussian": values["gaussian_epsilon_bound"],
        "ceiling": values["ceiling"],
        "guesses": values["guesses"],
        "correct": values["correct"],
        "broken": values["broken"],
        "seconds": round(time.monotonic() - started, 1),
    }


def _many_run(case: Mapping[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    values = audit_many_run(ManyRunSettings.load(case)).to_json()
    defect = "half noise" if "noise_share" in case else "none"
    sums = values["sums"]
    return {
        "attack": "many-run",
        "solver": case["solver"],
        "draw": "one sum" if case["part"] == "step" else f"plan, {sums} sum{'s' * (sums > 1)}",
        "draws each": case["runs"],
        "defect": "clips events" if case.get("clips_events") else defect,
        "promised": values["promised_epsilon"],
        "any": values["epsilon_bound"],
        "gaussian": values["gaussian_epsilon_bound"],
        "promised μ": values["promised_mu"],
        "μ": values["mu_bound"],
        "ceiling": values["ceiling"],
        "broken": values["broken"],
        "seconds": round(time.monotonic() - started, 1),
    }


def _mean(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Means over seeds, and the least and most that a seed showed."""
    table = pd.DataFrame(rows).astype({"promised": float, "gaussian": float})
    groups = table.groupby(["solver", "target", "canaries"], sort=False)
    columns = ["promised", "any", "gaussian", "ceiling", "guesses", "correct", "seconds"]
    means = groups[columns].mean()
    means.insert(2, "any, least", groups["any"].min())
    means.insert(3, "any, most", groups["any"].max())
    means.insert(0, "seeds", groups["seed"].nunique())
    means["broken"] = groups["broken"].sum()
    return means.reset_index()
