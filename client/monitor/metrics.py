"""`/metrics`: a client in the text form of Prometheus, from a registry of its own.

Guarantee:
    Every value is declared (caps, client, versions), public (model, certificate), or a function
    of what others have seen: releases, refusals by the code that was answered, restarts. Two
    clients with the same releases, whatever their data are, have the same page. There is no
    count of users, events or calls of the service, no duration, and nothing of process or
    machine, which the library would add by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from client.budget_view import BudgetView, WindowView
from client.monitor.reading import Reading, Watched
from common.http_pages import Answer
from common.privacy.accounting import NEIGHBOURING

__all__ = ["metrics", "metrics_page"]

_KIND = "text/plain; version=0.0.4; charset=utf-8"
_PROMISE = ("window", "unit", "delta", "neighbouring", "filter", "modes")
"""Labels of every ε: without them it says nothing."""


def metrics_page(watched: Watched) -> Answer:
    """The answer to `/metrics`."""
    return Answer(metrics(watched), _KIND)


def metrics(watched: Watched) -> bytes:
    """The whole page."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Client(watched))
    return generate_latest(registry)


class _Client(Collector):
    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, in order."""
        reading = self._watched.reading()
        yield _labelled(
            "hushrec_client",
            "The client and the program that it runs.",
            {"client": self._watched.owner.settings.name, "version": _version()},
        )
        yield from self._parts()
        yield from _folder(reading)
        if reading.budget is not None:
            yield from _budget(reading.budget)
            refusals = CounterMetricFamily(
                "hushrec_refusals", "Requests that were refused.", labels=["code"]
            )
            for code, count in reading.refusals.items():
                refusals.add_metric([code], count)
            yield refusals

    def _parts(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("hushrec_part_up", "The part has a process.", labels=["part"])
        again = CounterMetricFamily(
            "hushrec_part_restarts", "Starts of a part after the first.", labels=["part"]
        )
        for name, part in self._watched.parts.items():
            up.add_metric([name], part.is_up)
            again.add_metric([name], part.restarts)
        yield up
        yield again
        reached = self._watched.parts.node.being == "ready"
        yield _gauge("hushrec_server_reached", "The node is connected to the server.", reached)


def _folder(reading: Reading) -> Iterator[Metric]:
    yield _gauge(
        "hushrec_policy_readable", "The policy can be read and meant.", reading.policy is None
    )
    yield _gauge("hushrec_ledger_readable", "The ledger can be read.", reading.ledger is None)
    yield _gauge(
        "hushrec_ledger_halted", "The ledger is an old one; nothing leaves.", reading.is_halted
    )
    if reading.days_left is not None:
        yield _gauge(
            "hushrec_authority_days_left",
            "Whole days until the certificate of the server's authority ends.",
            reading.days_left,
        )
    if reading.model is not None:
        yield _gauge(
            "hushrec_model_serial", "Number of the promotion served.", reading.model.serial
        )
        named = {"version": reading.model.version}
        yield _labelled("hushrec_model", "The model that was delivered.", named)


def _budget(view: BudgetView) -> Iterator[Metric]:
    """Every window, with everything that an ε needs beside it."""
    families = {
        name: GaugeMetricFamily(f"hushrec_{name}", about, labels=_PROMISE)
        for name, about in (
            ("epsilon_cap", "ε that releases in the window may cost."),
            ("epsilon_in_force", "ε of all that counts in the window, by the filter."),
            ("epsilon_left", "A plan made for this ε still fits."),
            ("releases_spent", "Releases in the window whose bytes exist."),
        )
    }
    for window in view.windows:
        labels = _promise(view, window)
        families["epsilon_cap"].add_metric(labels, window.cap)
        families["epsilon_in_force"].add_metric(labels, window.in_force)
        families["epsilon_left"].add_metric(labels, window.left_epsilon)
        families["releases_spent"].add_metric(labels, window.spent.releases)
    yield from families.values()


def _promise(view: BudgetView, window: WindowView) -> list[str]:
    policy = view.owner.policy
    modes = ",".join(policy.modes)
    return [window.name, policy.unit, f"{window.delta:g}", NEIGHBOURING, window.filter, modes]


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=float(value))


def _labelled(name: str, about: str, labels: dict[str, str]) -> Metric:
    family = GaugeMetricFamily(f"{name}_info", about, labels=list(labels))
    family.add_metric(list(labels.values()), 1.0)
    return family


def _version() -> str:
    try:
        return version("hushrec")
    except PackageNotFoundError:
        return "source"
