"""MovieLens-1M, the NCF split, in mode `distributed`: beside local noise, and central noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from common.evaluation.evaluate import evaluate
from common.evaluation.groups import paired_difference
from common.evaluation.scorers import JointScorer
from common.job import Job
from common.schedule import schedule_of
from simulations.dataset import load_dataset
from simulations.gains import gain_of_all
from simulations.prepare import make_job
from simulations.results.joining import gain_figures, measured_by_shop
from simulations.results.pages import mean_and_spread, write_page
from simulations.results.training import Trained, figures, train
from simulations.scenario import Scenario

__all__ = ["equal_noise", "noise_in_total", "run_secure"]

DELTA: Final = 6040**-1.1
EPSILONS: Final = (8.0, 4.0, 2.0)
COUNTS: Final = (8, 100)
"""Clients; the first number is compared with the other modes."""
_METRICS: Final = ("hr@10", "ndcg@10")
_NEAR: Final = 1e-6

_NOTES: Final = """
Solver `subspace` with its defaults, which were chosen on events held out from training; nothing
was chosen on these. Three ways to have the same users behind the model:

- `distributed`: 8 clients, a total of at least 7, 1 may collude with the server; or 100 clients,
  80 and 10. Every client answers. ε is user-level (add/remove one user), by PLD, at
  δ = 6040^-1.1, and holds against the server and that many colluding clients. It is promised
  by the noise of t - c clients, 6 or 70; the total has that of all.
- `local`: 8 clients at the same ε, each of which adds all of its own noise.
- `central`: one client in mode `local`, at the same dimension, with the noise that the total of
  the 8 clients has. The planner was asked for the ε at which its noise multiplier is that of
  the distributed plan times √(n / (t - c)) in every round: the column `epsilon` is what
  the distributed run promises, `epsilon_spent` what each run's ledgers show. It is what secure
  sums would be if they cost nothing: what differs is how the noise is made and where it is added.

`noise` is the standard deviation in each entry of a round's total, over the largest contribution
of one user. HR@10 and NDCG@10 of the held-out item against the 99 published negatives, `joint`
serving. Differences: each user's mean over the seeds, then a 95% bootstrap interval over users. It
does not cover the noise, which comes from the operating system: means of three seeds move by up
to 0.008 from one run of the command to the next. Gain of joining: `alone` is the shop's own exact
model, `shop` the shared one refitted on the shop's own data. Exact figures of a simulation, not a
private release.
"""


def run_secure(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]) -> None:
    """All cases; writes `ml1m-secure`."""
    rows: list[dict[str, Any]] = []
    gains: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for epsilon in EPSILONS:
        users: dict[str, list[pd.DataFrame]] = {}
        for seed in seeds:
            for way, scenario in _ways(data, epsilon, seed):
                trained = train(scenario)
                line = {"mode": way, "clients": trained.job.clients, "epsilon": f"{epsilon:g}"}
                rows.append({**line, "seed": seed, **_figures(trained)})
                tell(str(rows[-1]))
                if trained.job.clients <= COUNTS[0]:
                    users.setdefault(way, []).append(_per_user(trained))
                if way == "distributed":
                    gains.append(_gain(f"{epsilon:g}", seed, trained))
                    tell(str(gains[-1]))
        differences += _differences(f"{epsilon:g}", users)
    _write(out, seeds, rows, gains, differences)


def noise_in_total(job: Job) -> float:
    """Noise of the last step's total if all clients of like size answer, over the clip norm."""
    noise = schedule_of(job).plan.releases[-1].noise_multiplier
    shares = 1 if job.terms is None else job.terms.honest
    return noise * math.sqrt(job.clients / shares)


def equal_noise(job: Job) -> tuple[float, int]:
    """At which ε one client in mode `local` adds the noise that all clients of `job` add together.

    Returns:
        ε, and the width of the steps of `job`, which the one client must have too.
    """
    width = schedule_of(job).plan.releases[-1].width
    changes: dict[str, Any] = {
        "mode": "local",
        "clients": 1,
        "roster": None,
        "threshold": None,
        "colluders": None,
        "settings": {**job.settings, "embedding_dim": width},
    }
    alone, aim = job.model_copy(update=changes), noise_in_total(job)
    if job.epsilon is None:
        raise ValueError("a job without privacy has no noise")

    def excess(log_epsilon: float) -> float:
        tried = alone.model_copy(update={"epsilon": math.exp(log_epsilon)})
        return math.log(noise_in_total(tried) / aim)

    low, high = math.log(job.epsilon / 4), math.log(job.epsilon * 2)
    return math.exp(float(brentq(excess, low, high, xtol=_NEAR))), width


def _source(data: Path) -> dict[str, Any]:
    return {"data": str(data / "ml-1m-ncf.zip"), "protocol": "ncf"}


def _ways(data: Path, epsilon: float, seed: int) -> Iterator[tuple[str, Scenario]]:
    """Secure sums of every number of clients, and what the first of them is compared with."""
    common = {**_source(data), "partition": "hash", "delta": DELTA, "seed": seed}
    asked = {**common, "epsilon": epsilon}
    first, *more = (Scenario.load({**asked, "clients": n, "mode": "distributed"}) for n in COUNTS)
    total, dim = equal_noise(make_job(first, load_dataset(first)))
    yield "distributed", first
    yield "local", Scenario.load({**asked, "clients": COUNTS[0]})
    yield "central", Scenario.load({**common, "clients": 1, "epsilon": total, "dim": dim})
    yield from (("distributed", scenario) for scenario in more)


def _figures(trained: Trained) -> dict[str, Any]:
    return {"noise": round(noise_in_total(trained.job), 5), **figures(trained)}


def _per_user(trained: Trained) -> pd.DataFrame:
    """Every user's metrics under `joint` serving."""
    split = trained.dataset.split
    scorer = JointScorer(trained.model, split.histories)
    return evaluate(scorer, split).per_user[["user_id", *_METRICS]]


def _gain(epsilon: str, seed: int, trained: Trained) -> dict[str, Any]:
    """What the clients of one run gain over staying alone."""
    partition = trained.dataset.partition
    gain = gain_of_all(measured_by_shop(trained, partition, seed), np.random.default_rng(0))
    joint = gain.gains["joint"]
    return {
        "clients": trained.job.clients,
        "users per shop": round(gain.users / trained.job.clients),
        "epsilon": epsilon,
        "seed": seed,
        **gain_figures(gain),
        "joint - alone": round(joint.mean, 5),
        "joint low": round(joint.low, 5),
        "joint high": round(joint.high, 5),
    }


def _differences(epsilon: str, users: Mapping[str, Sequence[pd.DataFrame]]) -> list[dict[str, Any]]:
    """`distributed` minus each of the others, over users' means over the seeds."""
    means = {
        way: pd.concat(runs).groupby("user_id").mean().reset_index() for way, runs in users.items()
    }
    secure = means.pop("distributed")
    rows = []
    for way, other in means.items():
        row: dict[str, Any] = {"epsilon": epsilon, "distributed minus": way, "users": len(other)}
        for metric in _METRICS:
            found = paired_difference(secure, other, metric, np.random.default_rng(0))
            row[metric] = round(found.mean, 5)
            row[f"{metric} low"], row[f"{metric} high"] = round(found.low, 5), round(found.high, 5)
        rows.append(row)
    return rows


def _write(
    out: Path,
    seeds: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    gains: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
) -> None:
    write_page(
        out,
        "ml1m-secure",
        title="MovieLens-1M, NCF split: secure sums",
        command=f"python -m simulations.results secure --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES,
        rows=[*rows, *gains, *differences],
        tables={
            "Means over seeds": mean_and_spread(rows, ["mode", "clients", "epsilon"]),
            f"{COUNTS[0]} clients: secure sums against the other ways": pd.DataFrame(differences),
            "What joining is worth, HR@10": mean_and_spread(
                gains, ["clients", "users per shop", "epsilon"]
            ),
        },
    )
