"""The control that costs no model: popularity under noise, with the whole budget to itself."""

from __future__ import annotations

from collections.abc import Sequence

from client.store import ClientStore
from common.arrays import Floats
from common.job import Job
from common.privacy.mechanisms import mechanism_for
from common.privacy.shared_noise import natural, noise_std_of, shared_mechanism_for
from common.privacy.stream import NoiseSource
from common.protocol import OK, Reply
from common.schedule import Schedule, schedule_of
from common.solvers.base import SUM, NoisyTotal
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
    total = _shared if job.mode == "distributed" else _combined
    state = schedule.advance(0, schedule.initial_state(), total(schedule, stores, noise))
    return schedule.finish(state).popularity.astype("float64")


def _combined(schedule: Schedule, stores: Sequence[ClientStore], noise: NoiseSource) -> NoisyTotal:
    """Each client adds its own noise, and the server weighs."""
    members = [Member(s.settings.name, i, s.settings.population) for i, s in enumerate(stores)]
    release, mode = schedule.plan.releases[0], schedule.plan.mode
    combiner = Combiner(schedule.steps[0], release, members, mode)
    for member, store in zip(members, stores, strict=True):
        mechanism = mechanism_for(schedule.plan, 0, noise)
        users = mechanism.sample(store.histories.n_users)
        noised = mechanism.sum(schedule.contribute(0, {}, store, users))
        combiner.offer(member, Reply(OK, {SUM: noised}))
    total, _ = combiner.total()
    if total is None:
        raise RuntimeError("popularity must be a sum")
    return total


def _shared(schedule: Schedule, stores: Sequence[ClientStore], noise: NoiseSource) -> NoisyTotal:
    """Each client adds its share of the noise, and the total is that of all, as a sum gives it."""
    release = schedule.plan.releases[0]
    words = None
    for store in stores:
        mechanism = shared_mechanism_for(schedule.plan, 0, noise)
        users = mechanism.sample(store.histories.n_users)
        own = mechanism.words(schedule.contribute(0, {}, store, users))
        words = own if words is None else words + own
    if words is None:
        raise RuntimeError("a run has clients")
    return NoisyTotal(
        values=natural(words, release),
        noise_std=noise_std_of(release, len(stores)),
        population=float(sum(store.settings.population for store in stores)),
    )
