"""The object that a run ends with: quality, controls, privacy, seconds, bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.evaluation.evaluate import Evaluation
from common.job import Job
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING, rounded_up
from server.record import RoundRecord
from simulations.gains import METRIC, Gain, gain_by_shop_size
from simulations.measure import Measured
from simulations.scenario import Scenario
from simulations.spending import ClientLedger

__all__ = ["EXACT_NOTE", "summarise"]

EXACT_NOTE = "exact figures of a simulation, not a private release"


def summarise(
    *,
    run: Path,
    scenario: Scenario,
    job: Job,
    measured: Measured,
    ledgers: Sequence[ClientLedger],
    rounds: Sequence[RoundRecord],
    seconds: Mapping[str, float],
    private_metrics: Mapping[str, Any] | None,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The final object, ready for JSON: no NaN, no infinity."""
    found = {name: _metrics(e) for name, e in measured.evaluations.items()}
    rng = np.random.default_rng([scenario.seed, 3])
    controls = ("popularity", "noised-popularity", "random", "alone")
    summary: dict[str, Any] = {
        "run": str(run),
        "note": EXACT_NOTE,
        "serving_chosen": scenario.serving,
        "metrics": found[scenario.serving],
        "serving": {name: found[name] for name in ("joint", "shop")},
        "baselines": {name: found[name] for name in controls if name in found},
        "by_shop_size": _shop_sizes(gain_by_shop_size(measured, rng)),
        "choices": measured.choices,
        "ratings": _ratings(measured) or None,
        "private_metrics": None if private_metrics is None else dict(private_metrics),
        "privacy": _privacy(scenario, job, ledgers),
        "refused": _refusals(rounds),
        "warnings": list(warnings),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "bytes": {
            "up": sum(r.bytes_up for r in rounds),
            "down": sum(r.bytes_down for r in rounds),
        },
    }
    return summary


def _shop_sizes(gains: Sequence[Gain]) -> list[dict[str, Any]]:
    """Quality by size of shop, small ones first: alone, joint, shop, and the gains."""
    return [
        {
            "users_per_shop": group.label,
            "shops": group.shops,
            "evaluated": group.evaluated,
            "metric": METRIC,
            **{name: round(group.means[name].mean, 6) for name in ("alone", "joint", "shop")},
            "gain_joint": round(group.gains["joint"].mean, 6),
            "gain_joint_low": round(group.gains["joint"].low, 6),
            "gain_joint_high": round(group.gains["joint"].high, 6),
            "gain_shop": round(group.gains["shop"].mean, 6),
            "gain_shop_low": round(group.gains["shop"].low, 6),
            "gain_shop_high": round(group.gains["shop"].high, 6),
        }
        for group in gains
    ]


def _metrics(evaluation: Evaluation) -> dict[str, float]:
    values = evaluation.metrics.items()
    return {name: round(float(v), 6) for name, v in values if math.isfinite(v)}


def _ratings(measured: Measured) -> dict[str, dict[str, float]]:
    """Errors on held-out ratings, by what predicts them; empty where nothing does."""
    return {
        name: {
            "rmse": round(totals.rmse, 6),
            "mae": round(totals.mae, 6),
            "rated": totals.squared.count,
        }
        for name, totals in measured.ratings.items()
        if totals.squared.count
    }


def _privacy(scenario: Scenario, job: Job, ledgers: Sequence[ClientLedger]) -> dict[str, Any]:
    endless = [ledger.client for ledger in ledgers if math.isinf(ledger.last)]
    warning = _warning(scenario, job, ledgers, endless)
    spent = {ledger.client: _finite(ledger.last) for ledger in ledgers}
    known = [value for value in spent.values() if value is not None]
    return {
        "mode": job.mode,
        "threshold": job.threshold,
        "colluders": job.colluders,
        "unit": job.unit,
        "neighbouring": NEIGHBOURING,
        "epsilon": max(known) if known and not endless and job.mode != "none" else None,
        "delta": job.delta if job.mode != "none" else None,
        "accountant": ACCOUNTANT,
        "private": warning is None,
        "warning": warning,
        "per_client": spent,
    }


def _warning(
    scenario: Scenario, job: Job, ledgers: Sequence[ClientLedger], endless: Sequence[str]
) -> str | None:
    if job.mode == "none" or scenario.fixed_noise or any(x.reproducible for x in ledgers):
        return "NOT PRIVATE: no noise, or noise that a seed decides"
    if endless:
        named = ", ".join(endless[:5]) + (" and others" if len(endless) > 5 else "")
        return f"NOT PRIVATE: no ε holds for what is in the ledger of {named}"
    return None


def _finite(epsilon: float) -> float | None:
    return rounded_up(epsilon, 6) if math.isfinite(epsilon) else None


def _refusals(rounds: Sequence[RoundRecord]) -> list[dict[str, str]]:
    return [
        {"step": record.name, "client": client, "code": code}
        for record in rounds
        for client, code in sorted(record.refused.items())
    ]
