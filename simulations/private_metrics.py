"""What the clients released about quality, and the same figure without noise beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from client.store import ClientStore
from common.evaluation.private import PrivateMetrics, contribution, evaluation_shape, read_total
from common.job import Job
from common.models.base import Model
from common.schedule import METRICS, schedule_of
from common.solvers.base import NoisyTotal, given_to
from server.registry import Registry

__all__ = ["exact_metrics", "released_metrics", "with_exact"]


def released_metrics(registry: Registry, job: Job) -> PrivateMetrics | None:
    """The metrics that clients released themselves, None if the job did not pay for them."""
    checkpoint = registry.latest(job)
    if checkpoint is None or METRICS not in checkpoint.state:
        return None
    noise_std = registry.rounds()[-1].noise_std
    if noise_std is None:  # no evaluation is an average of states
        return None
    return read_total(
        NoisyTotal(
            values=checkpoint.state[METRICS],
            noise_std=noise_std,
            population=schedule_of(job).facts.population,
        )
    )


def exact_metrics(model: Model, stores: Sequence[ClientStore]) -> PrivateMetrics:
    """The counterpart of what clients released: the same sum over all users, without noise.

    Each user's one held-out item is ranked among all items, whatever the run's protocol.
    The lab alone can compute it: not a private release.
    """
    shape = evaluation_shape(1.0)
    total = np.zeros((shape.rows, shape.width))
    for store in stores:
        if store.heldout is not None:
            users = np.arange(store.histories.n_users, dtype=np.int64)
            histories = given_to(model, store).histories
            contribution(histories, store.heldout, model, users).add_to(total)
    population = sum(store.settings.population for store in stores)
    return read_total(NoisyTotal(values=total, noise_std=0.0, population=population))


def with_exact(released: PrivateMetrics, exact: PrivateMetrics) -> dict[str, Any]:
    """For the final object: what was released, and the exact ratios beside it."""
    beside = {"exact_hit_rate": exact.hit_rate, "exact_ndcg": exact.ndcg}
    return {**vars(released), **beside}
