"""From what is asked for and who is there to the job that clients are sent."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from common.catalogue import Catalogue
from common.errors import Code, ConfigError, PlanError, PolicyError
from common.job import Job
from common.privacy.filters import Cap, best_order
from common.privacy.plan import Mode, Unit
from common.privacy.roster import Terms
from common.schedule import facts_of, schedule_of
from common.solvers.registry import make_solver

__all__ = ["Asked", "Parties", "make_job", "terms_of"]


class Asked(Protocol):
    """What a training is asked to be: an operator's request, or a scenario."""

    @property
    def solver(self) -> str: ...  # noqa: D102  as the field of the same name
    @property
    def settings(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def rounds(self) -> int | None: ...  # noqa: D102
    @property
    def dim(self) -> int | None: ...  # noqa: D102
    @property
    def mode(self) -> Mode: ...  # noqa: D102
    @property
    def unit(self) -> Unit: ...  # noqa: D102
    @property
    def target_epsilon(self) -> float | None: ...  # noqa: D102
    @property
    def delta(self) -> float | None: ...  # noqa: D102
    @property
    def evaluation_share(self) -> float: ...  # noqa: D102
    @property
    def threshold(self) -> int | None: ...  # noqa: D102
    @property
    def colluders(self) -> int | None: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Parties:
    """Who trains, by public constants alone.

    Attributes:
        populations: declared users of each client that is counted on.
        clients: how many clients there are; in mode `distributed` all on the roster.
        server: public key of the server; None for a job whose keys are made later.
        roster: digest of the roster in mode `distributed`, whose clients sum securely.
    """

    populations: Sequence[int]
    clients: int
    server: str | None = None
    roster: str | None = None


def make_job(asked: Asked, catalogue: Catalogue, parties: Parties) -> Job:
    """The job, priced and found possible.

    Raises:
        ConfigError: unknown solver or settings; one client in mode `distributed`.
        PolicyError: `policy-threshold`, too few honest clients for secure sums.
        PlanError: no plan meets ε, δ and unit.
    """
    terms = terms_of(asked, parties.clients)
    population = sum(parties.populations)
    values: dict[str, Any] = {
        "job_id": secrets.token_hex(16),
        "catalogue_version": catalogue.version,
        "n_items": len(catalogue),
        "catalogue_derived": catalogue.source == "derived",
        "clients": parties.clients,
        "population": population,
        "signal": _signal(parties.populations, terms),
        "mode": asked.mode,
        "unit": asked.unit,
        "epsilon": _epsilon(asked),
        "delta": _delta(asked, population),
        "solver": asked.solver,
        "settings": _solver_settings(asked),
        "evaluation_share": asked.evaluation_share,
        "server": parties.server,
        "seed": asked.seed,
    }
    if terms is not None:
        values |= {
            "threshold": terms.threshold,
            "colluders": terms.colluders,
            "roster": parties.roster,
        }
    job = _aimed(Job.load(values, where="request"))
    schedule_of(job)
    return job


def terms_of(asked: Asked, clients: int) -> Terms | None:
    """How many of `clients` must answer and may collude; None where nothing is summed securely.

    Raises:
        ConfigError: `plan-mode`, one client alone.
        PolicyError: `policy-threshold`, what is asked for is not safe.
    """
    if asked.mode != "distributed":
        return None
    if clients < 2:
        raise ConfigError(
            Code.PLAN_MODE,
            "a secure sum of one client hides nothing: the total is its own sum.",
            where="clients",
            remedy="Take two clients at least, or mode `local`.",
        )
    terms = Terms.usual(clients, asked.threshold, asked.colluders)
    try:
        terms.check()
    except PolicyError as error:
        where = "colluders" if asked.threshold is None else "threshold"
        raise PolicyError(error.code, error.message, where=where, remedy=error.remedy) from None
    return terms


def _epsilon(asked: Asked) -> float | None:
    epsilon = asked.target_epsilon
    if epsilon is not None and not epsilon > 0:
        raise PlanError(
            Code.PLAN_EPSILON,
            f"ε = {epsilon:g} is not above 0.",
            where="epsilon",
            remedy="Choose one above 0; without any guarantee, mode `none` is for simulations.",
        )
    return epsilon


def _delta(asked: Asked, population: int) -> float:
    """δ, 0 without privacy."""
    if asked.mode == "none":
        return 0.0
    delta = asked.delta if asked.delta is not None else float(population) ** -1.1
    if not 0 < delta < 1:
        raise PlanError(
            Code.PLAN_DELTA,
            f"δ = {delta:g} is not between 0 and 1.",
            where="delta",
            remedy="Choose δ well below one over the number of users.",
        )
    return delta


def _signal(populations: Sequence[int], terms: Terms | None) -> float:
    """Declared users behind one unit of noise: see `Job.signal`."""
    if terms is None:
        return math.hypot(*populations)
    return sum(populations) * math.sqrt(terms.honest / terms.clients)


def _solver_settings(asked: Asked) -> dict[str, Any]:
    named = {"rounds": asked.rounds, "embedding_dim": asked.dim}
    return {**asked.settings, **{k: v for k, v in named.items() if v is not None}}


def _aimed(job: Job) -> Job:
    """The job, aimed at a Rényi filter if it samples: a GDP filter knows of no sampling."""
    steps = make_solver(job.solver, job.settings, facts_of(job)).steps
    if job.epsilon is None or all(step.release.sampling_rate == 1 for step in steps):
        return job
    order = best_order(Cap(epsilon=job.epsilon, delta=job.delta))
    return job.model_copy(update={"renyi_order": order})
