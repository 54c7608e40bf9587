"""The control that costs no model: popularity under noise, with the whole budget to itself."""

from __future__ import annotations

from collections.abc import Sequence

from client.store import ClientStore
from common.arrays import Floats
from common.job import Job
from common.privacy.mechanisms import mechanism_for
from common.privacy.stream import NoiseSource
from common.protocol import OK, Reply
from common.schedule import Schedule, schedule_of
from common.solvers.base import SUM
from server.combine import Combiner
from server.roster import Member

__all__ = ["noised_popularity"]


def noised_popularity(job: Job, stores: Sequence[ClientStore], noise: NoiseSource) -> Floats:
    """Popularity scores that the clients could have released with the whole budget.

    What a run of solver `popularity` at the same ε and δ would give; made in the lab beside
    the run, so no ledger is charged for it.

    Returns:
        `[items]`, positive.
    """
    alone = job.model_copy(update={"solver": "popularity", "settings": {}, "evaluation_share": 0.0})
    schedule = schedule_of(alone)
    members = [Member(s.settings.name, i, s.settings.population) for i, s in enumerate(stores)]
    combiner = Combiner(schedule.steps[0], schedule.plan.releases[0], members, job.mode)
    for member, store in zip(members, stores, strict=True):
        combiner.offer(member, Reply(OK, {SUM: _release(schedule, store, noise)}))
    total, _ = combiner.total()
    if total is None:
        raise RuntimeError("popularity must be a sum")
    state = schedule.advance(0, schedule.initial_state(), total)
    return schedule.finish(state).popularity.astype("float64")


def _release(schedule: Schedule, store: ClientStore, noise: NoiseSource) -> Floats:
    mechanism = mechanism_for(schedule.plan, 0, noise)
    users = mechanism.sample(store.histories.n_users)
    return mechanism.sum(schedule.contribute(0, {}, store, users))
