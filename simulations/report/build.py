"""From a run's figures to the data of its report."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from common.evaluation.bootstrap import Interval
from common.evaluation.evaluate import Evaluation
from common.evaluation.groups import (
    by_activity,
    by_client,
    by_popularity,
    intervals,
)
from common.evaluation.private import PrivateMetrics
from common.job import Job
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING
from simulations.dataset import Dataset
from simulations.gains import METRIC, Gain, gain_by_shop_size
from simulations.measure import Measured
from simulations.report.budgets import read_audit, read_budgets
from simulations.report.data import (
    Breakdown,
    BreakdownRow,
    ClientSpend,
    DataSummary,
    Estimate,
    Guarantee,
    ListQuality,
    Method,
    Phase,
    PrivateMetric,
    ReportData,
    RoundTraffic,
    Serving,
    ShopPoint,
    SizeGroup,
)
from simulations.report.ratings_data import RatingErrors
from simulations.report.sums import read_sums, terms_of
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario
from simulations.spending import ClientLedger

__all__ = ["build_report"]

_PROTOCOLS = {
    "full": "Each held-out item is ranked among all items that its user has no event on.",
    "ncf": "Each held-out item is ranked against 99 sampled ones; to compare with papers only.",
    "temporal": "Training ends at a moment in time; what users newly met later is held out.",
}
_VALIDATION = " Held out from training events, for choosing settings: not the test events."
SHOWN = ("hr@10", "ndcg@10", "mrr@10")
"""Metrics of the quality table; the others are in `users.parquet`."""


def build_report(
    folder: RunFolder,
    scenario: Scenario,
    dataset: Dataset,
    job: Job,
    measured: Measured,
    ledgers: Sequence[ClientLedger],
    released: PrivateMetrics | None,
    exact: PrivateMetrics | None,
    summary: Mapping[str, Any],
) -> ReportData:
    """Everything that the page shows, from what was measured."""
    rng = np.random.default_rng([scenario.seed, 4])
    rounds = folder.registry.rounds()
    # the generator of `summary.json`, so that both show the same intervals
    gains = gain_by_shop_size(measured, np.random.default_rng([scenario.seed, 3]))
    return ReportData(
        title=f"{scenario.solver} on {dataset.name}",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=f"hushrec simulate --scenario {shlex.quote(str(folder.path / 'scenario.json'))}",
        config=_config(scenario, job),
        data=_data(scenario, dataset),
        metric=METRIC,
        serving=scenario.serving,
        methods=tuple(_method(name, e, rng) for name, e in measured.evaluations.items()),
        by_size=tuple(_size_group(group, scenario.serving) for group in gains),
        shops=_shops(measured, rng),
        guarantee=_guarantee(job, ledgers),
        rounds=tuple(_short(record.name) for record in rounds),
        spend=_spend(job, ledgers, len(rounds)),
        budgets=read_budgets(folder.path) if job.mode != "none" else (),
        sums=read_sums(job, rounds),
        audit=read_audit(folder.path),
        traffic=tuple(RoundTraffic(up=r.bytes_up, down=r.bytes_down) for r in rounds),
        lists=tuple(_lists(name, e) for name, e in measured.evaluations.items()),
        breakdowns=(
            _breakdown("activity", by_activity, measured, rng),
            _breakdown("popularity", by_popularity, measured, rng),
        ),
        private_metrics=_private(released, exact),
        ratings=_ratings(summary["ratings"]),
        phases=tuple(Phase(name=n, seconds=s) for n, s in summary["seconds"].items()),
        versions=folder.read_versions(),
        seeds={"public": scenario.seed, "noise": _noise_seed(scenario, job)},
        seeded_noise=scenario.fixed_noise or any(ledger.reproducible for ledger in ledgers),
        warnings=dataset.warnings,
    )


def _short(step: str) -> str:
    """`round1` of `subspace.round1`, `evaluation` of `evaluation.leave_one_out`."""
    family, _, name = step.partition(".")
    return family if family == "evaluation" else name


def _config(scenario: Scenario, job: Job) -> dict[str, str | int | float | bool | None]:
    values = scenario.model_dump(mode="json", exclude={"settings", "marketplace"})
    values["delta"] = job.delta
    values["population"] = job.population
    values |= {"threshold": job.threshold, "colluders": job.colluders}
    return values | dict(_flat(scenario.solver, scenario.settings))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str | int | float | bool | None]]:
    """Settings by name, those of a table behind its own; lists as text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value if value is None or isinstance(value, str | int | float) else str(value)


def _data(scenario: Scenario, dataset: Dataset) -> DataSummary:
    split = dataset.split
    times = split.train["datetime"]
    return DataSummary(
        source=dataset.name,
        users=len(split.users),
        items=len(split.items),
        events=len(split.train) + len(split.heldout),
        first=str(times.min().date()),
        last=str(times.max().date()),
        catalogue=dataset.catalogue.source,
        partition=scenario.partition_spec,
        protocol=_PROTOCOLS[split.protocol] + (_VALIDATION if scenario.validation else ""),
        evaluated=len(split.evaluated),
        left_out=split.left_out.total,
        set_aside=0 if dataset.rejected is None else dataset.rejected.n_rows,
    )


def _method(name: str, evaluation: Evaluation, rng: np.random.Generator) -> Method:
    found = intervals(evaluation.per_user, rng)
    metrics = {key: _estimate(found[key]) for key in SHOWN}
    return Method.model_validate({"name": name, "metrics": metrics})


def _size_group(group: Gain, serving: Serving) -> SizeGroup:
    return SizeGroup(
        label=f"{group.label} users",
        shops=group.shops,
        users_per_shop=group.users / group.shops,
        alone=_estimate(group.means["alone"]),
        joint=_estimate(group.means["joint"]),
        served_shop=_estimate(group.means["shop"]),
        gain=_estimate(group.gains[serving]),
    )


def _shops(measured: Measured, rng: np.random.Generator) -> tuple[ShopPoint, ...]:
    tables = {
        name: _by_group(by_client(_hits(measured, name), measured.client_of, rng))
        for name in ("alone", "joint", "shop")
    }
    return tuple(
        ShopPoint(
            shop=shop,
            users=int(line["users"]),
            alone=float(line["mean"]),
            joint=float(tables["joint"][shop]["mean"]),
            served_shop=float(tables["shop"][shop]["mean"]),
        )
        for shop, line in tables["alone"].items()
    )


def _guarantee(job: Job, ledgers: Sequence[ClientLedger]) -> Guarantee:
    largest = max((ledger.last for ledger in ledgers), default=0.0)
    endless = job.mode != "none" and math.isinf(largest)
    return Guarantee(
        mode=job.mode,
        terms=terms_of(job),
        unit=job.unit,
        neighbouring=NEIGHBOURING,
        epsilon=None if endless or job.mode == "none" else largest,
        endless=endless,
        delta=job.delta,
        accountant=ACCOUNTANT,
    )


def _spend(job: Job, ledgers: Sequence[ClientLedger], rounds: int) -> tuple[ClientSpend, ...]:
    if job.mode == "none" or any(math.isinf(ledger.last) for ledger in ledgers):
        return ()
    return tuple(
        ClientSpend(
            client=ledger.client,
            epsilon=tuple(ledger.after_round(step) for step in range(rounds)),
        )
        for ledger in ledgers
    )


def _lists(name: str, evaluation: Evaluation) -> ListQuality:
    values = evaluation.metrics
    return ListQuality.model_validate(
        {
            "name": name,
            "coverage": values["coverage@10"],
            "novelty": values["novelty@10"],
            "gini": _known(values.get("gini@10")),
            "diversity": _known(values.get("diversity@10")),
        }
    )


def _breakdown(
    by: str,
    table_of: Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame],
    measured: Measured,
    rng: np.random.Generator,
) -> Breakdown:
    unit = "events" if by == "activity" else "buyers"
    names = [n for n in measured.evaluations if n in ("joint", "shop", "alone", "popularity")]
    described = {
        name: measured.evaluations[name].per_user[["user_id", by, METRIC]] for name in names
    }
    tables = {name: _by_group(table_of(frame, rng)) for name, frame in described.items()}
    first = tables[names[0]]
    return Breakdown.model_validate(
        {
            "by": by,
            "rows": [
                BreakdownRow.model_validate(
                    {
                        "label": f"{line['least']:,.0f} to {line['most']:,.0f} {unit}",
                        "users": int(line["users"]),
                        "values": {name: _line(tables[name][group]) for name in names},
                    }
                )
                for group, line in first.items()
            ],
        }
    )


def _private(
    released: PrivateMetrics | None, exact: PrivateMetrics | None
) -> tuple[PrivateMetric, ...]:
    if released is None or exact is None:
        return ()
    found = (
        ("hr@10", released.hit_rate, released.hit_rate_std, exact.hit_rate),
        ("ndcg@10", released.ndcg, released.ndcg_std, exact.ndcg),
    )
    return tuple(
        PrivateMetric(name=name, released=value, noise_std=std, exact=truth)
        for name, value, std, truth in found
        if value is not None and std is not None and truth is not None
    )


def _ratings(errors: Mapping[str, Mapping[str, float]] | None) -> tuple[RatingErrors, ...]:
    named = ({"name": name, **values} for name, values in (errors or {}).items())
    return tuple(RatingErrors.model_validate(each) for each in named)


def _hits(measured: Measured, name: str) -> pd.DataFrame:
    return measured.evaluations[name].per_user[["user_id", METRIC]]


def _by_group(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The rows of a table of one metric, by group, in their order."""
    rows = table.set_index("group").to_dict("index")
    return {str(group): {str(k): v for k, v in row.items()} for group, row in rows.items()}


def _line(line: Mapping[str, Any]) -> Estimate:
    return Estimate(mean=float(line["mean"]), low=float(line["low"]), high=float(line["high"]))


def _estimate(interval: Interval) -> Estimate:
    return Estimate(mean=interval.mean, low=interval.low, high=interval.high)


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _noise_seed(scenario: Scenario, job: Job) -> str | int:
    if job.mode == "none":
        return "no noise"
    return scenario.seed if scenario.fixed_noise else "from the operating system"
