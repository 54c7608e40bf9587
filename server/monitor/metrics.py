"""A server's figures for Prometheus: what clients stated and which codes they gave, never arrays.

Every scrape counts anew from the files, so that figures survive a restart of the monitor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias, get_args

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from common.http_pages import Answer
from server.monitor.view import HomeView, RunState, RunView

__all__ = ["metrics_page"]

_Sample: TypeAlias = tuple[Sequence[str], float]
_STATES: Final = get_args(RunState)


def metrics_page(view: HomeView) -> Answer:
    """What Prometheus collects."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(view))
    return Answer(generate_latest(registry), CONTENT_TYPE_LATEST)


class _Figures(Collector):
    def __init__(self, view: HomeView) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        yield from _of_home(self._view)
        yield from _of_members(self._view)
        yield from _of_runs(self._view.runs)


def _of_home(view: HomeView) -> Iterator[Metric]:
    if view.is_up is not None:
        yield _gauge("hushrec_server_up", "1 if the gateway answers.", (), [((), view.is_up)])
    yield _gauge(
        "hushrec_certificate_days",
        "Whole days that a certificate still holds; below 0 once it is over.",
        ("certificate",),
        [((one.name,), one.days) for one in view.certificates if one.days is not None],
    )
    yield _gauge(
        "hushrec_problems", "Things in the home that cannot be read.", (),
        [((), len(view.problems))],
    )  # fmt: skip
    serial = 0 if view.model is None else view.model.serial
    yield _gauge(
        "hushrec_model_serial", "Number of the newest promotion, 0 for none.", (), [((), serial)]
    )
    yield _gauge(
        "hushrec_model_versions", "Models that could be promoted.", (), [((), view.versions)]
    )


def _of_members(view: HomeView) -> Iterator[Metric]:
    yield _gauge(
        "hushrec_member_online",
        "1 if a member's node was heard of within its lease.",
        ("client",),
        [((one.name,), one.online) for one in view.members],
    )
    yield _gauge(
        "hushrec_member_heard_timestamp_seconds",
        "When a member's node was last heard of.",
        ("client",),
        [((one.name,), one.heard_at.timestamp()) for one in view.members if one.heard_at],
    )


def _of_runs(runs: Sequence[RunView]) -> Iterator[Metric]:
    yield _gauge(
        "hushrec_run_state",
        "1 for the state that a run is in.",
        ("run", "state"),
        [((run.name, state), run.state == state) for run in runs for state in _STATES],
    )
    yield _gauge(
        "hushrec_run_steps",
        "Rounds that a run has from begin to end.",
        ("run",),
        [((run.name,), run.steps) for run in runs if run.steps is not None],
    )
    yield _counter(
        "hushrec_run_rounds",
        "Rounds that are done.",
        ("run",),
        [((run.name,), run.completed) for run in runs],
    )
    yield from _of_answers(runs)
    yield from _of_traffic(runs)
    yield from _of_last_rounds(runs)


def _of_answers(runs: Sequence[RunView]) -> Iterator[Metric]:
    yield _counter(
        "hushrec_run_answered",
        "Rounds in which a client's release was used.",
        ("run", "client"),
        [((run.name, name), count) for run in runs for name, count in run.answered.items()],
    )
    yield _counter(
        "hushrec_run_refused",
        "Rounds without a client's release, by reason code.",
        ("run", "client", "code"),
        [((run.name, *pair), count) for run in runs for pair, count in run.refused.items()],
    )


def _of_traffic(runs: Sequence[RunView]) -> Iterator[Metric]:
    yield _counter(
        "hushrec_run_sent_bytes", "Bytes sent to all clients.", ("run",),
        _sums(runs, lambda run: sum(record.bytes_down for record in run.rounds)),
    )  # fmt: skip
    yield _counter(
        "hushrec_run_received_bytes", "Bytes received from all clients.", ("run",),
        _sums(runs, lambda run: sum(record.bytes_up for record in run.rounds)),
    )  # fmt: skip
    yield _counter(
        "hushrec_run_round_seconds", "Wall time of all rounds.", ("run",),
        _sums(runs, lambda run: sum(record.seconds for record in run.rounds)),
    )  # fmt: skip


def _of_last_rounds(runs: Sequence[RunView]) -> Iterator[Metric]:
    last = [(run, run.last) for run in runs]
    yield _gauge(
        "hushrec_run_noise_std",
        "Standard deviation of the noise in each entry of the last round's total.",
        ("run",),
        [((run.name,), of.noise_std) for run, of in last if of and of.noise_std is not None],
    )
    yield _gauge(
        "hushrec_run_signal_to_noise",
        "Root mean square of the last round's signal over its noise, estimated from the total.",
        ("run",),
        [
            ((run.name,), of.signal_to_noise)
            for run, of in last
            if of and of.signal_to_noise is not None
        ],
    )
    yield _gauge(
        "hushrec_run_changed_timestamp_seconds",
        "When the files of a run last changed.",
        ("run",),
        [((run.name,), run.changed_at.timestamp()) for run in runs if run.changed_at],
    )


def _sums(runs: Sequence[RunView], of: Callable[[RunView], float]) -> list[_Sample]:
    return [((run.name,), of(run)) for run in runs]


def _gauge(name: str, words: str, labels: Sequence[str], samples: Iterable[_Sample]) -> Metric:
    return _filled(GaugeMetricFamily(name, words, labels=labels), samples)


def _counter(name: str, words: str, labels: Sequence[str], samples: Iterable[_Sample]) -> Metric:
    return _filled(CounterMetricFamily(name, words, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[_Sample]) -> Metric:
    for values, value in samples:
        family.add_metric(values, float(value))
    return family
