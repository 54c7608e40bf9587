"""The result of a run as tables on stdout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from common.privacy.accounting import rounded_up

__all__ = ["print_result"]

_METRICS = ("hr@10", "ndcg@10", "mrr@10", "coverage@10", "novelty@10")


def print_result(result: Mapping[str, Any]) -> None:
    """Quality by method, gain by size of shop, and the guarantee in one line."""
    console = Console()
    console.print(_quality(result))
    if result["ratings"] is not None:
        console.print(_ratings(result))
    console.print(_sizes(result))
    console.print(_guarantee(result["privacy"]), markup=False)
    if result["private_metrics"] is not None:
        console.print(_released(result["private_metrics"]), markup=False)
    for warning in result["warnings"]:
        console.print(f"Note: {warning}", markup=False)
    for refusal in result["refused"]:
        console.print(
            f"Refused: {refusal['client']} in {refusal['step']}: {refusal['code']}.", markup=False
        )
    console.print(f"Report: {result['run']}/report.html", markup=False, soft_wrap=True)


def _quality(result: Mapping[str, Any]) -> Table:
    table = Table(title=f"Quality ({result['note']})", title_justify="left")
    table.add_column("method")
    for name in _METRICS:
        table.add_column(name, justify="right")
    for name, metrics in {**result["serving"], **result["baselines"]}.items():
        marker = " *" if name == result["serving_chosen"] else ""
        values = (metrics.get(metric) for metric in _METRICS)
        table.add_row(name + marker, *("–" if v is None else f"{v:.4f}" for v in values))
    return table


def _ratings(result: Mapping[str, Any]) -> Table:
    table = Table(title=f"Held-out ratings ({result['note']})", title_justify="left")
    table.add_column("predicted by")
    for name in ("rmse", "mae"):
        table.add_column(name, justify="right")
    for name, errors in result["ratings"].items():
        table.add_row(name, f"{errors['rmse']:.4f}", f"{errors['mae']:.4f}")
    return table


def _sizes(result: Mapping[str, Any]) -> Table:
    title = f"What joining is worth, hr@10 ({result['note']})"
    table = Table(title=title, title_justify="left")
    for name in ("users per shop", "shops", "alone", "joint", "shop", "gain of shop"):
        table.add_column(name, justify="right")
    for row in result["by_shop_size"]:
        table.add_row(
            row["users_per_shop"],
            str(row["shops"]),
            *(f"{row[name]:.4f}" for name in ("alone", "joint", "shop")),
            f"{row['gain_shop']:+.4f}",
        )
    return table


def _guarantee(privacy: Mapping[str, Any]) -> str:
    if privacy["epsilon"] is None:
        return f"{privacy['warning']}."
    spent = "spent" if privacy["private"] else "would have spent, had the noise been secret,"
    line = (
        f"Each client {spent} at most ε = {rounded_up(privacy['epsilon'], 3):.3f} "
        f"at δ = {privacy['delta']:.3g}, unit {privacy['unit']} ({privacy['neighbouring']}), "
        f"mode {privacy['mode']}{_terms(privacy)}, "
        f"by {privacy['accountant']}."
    )
    return line if privacy["warning"] is None else f"{privacy['warning']}. {line}"


def _terms(privacy: Mapping[str, Any]) -> str:
    """Whom secure sums hold against."""
    if privacy["colluders"] is None:
        return ""
    return (
        f" (against the server and {privacy['colluders']} of {len(privacy['per_client'])} clients, "
        f"totals of at least {privacy['threshold']})"
    )


def _released(metrics: Mapping[str, Any]) -> str:
    """What the clients released about quality themselves, with the noise that is known."""
    if metrics["hit_rate"] is None:
        return "Released by the clients: too noisy to say anything about quality."
    hits = f"hr@10 {metrics['hit_rate']:.3f} ± {metrics['hit_rate_std']:.3f}"
    gains = f"ndcg@10 {metrics['ndcg']:.3f} ± {metrics['ndcg_std']:.3f}"
    return f"Released by the clients under the guarantee: {hits}, {gains}."
