"""The schedule of a job: its solver's steps, and a private evaluation if one is paid for.

Both sides build it from the `Job` alone, so that a client prices what it is asked for and
takes nobody's word. Everything that is not `contribute` is post-processing of releases.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Final, Protocol, runtime_checkable

from common.arrays import Ints, State
from common.catalogue import Catalogue
from common.errors import Code, ConfigError, DataError
from common.evaluation import private
from common.job import Job
from common.models.base import Model
from common.models.registry import model_from
from common.privacy.contributions import Contributions
from common.privacy.plan import PrivacyPlan
from common.privacy.planner import make_plan
from common.solvers.base import ClientLog, NoisyTotal, PublicFacts, Solver, Step, given_to
from common.solvers.registry import make_solver

__all__ = ["METRICS", "Schedule", "count_steps", "facts_of", "schedule_of"]

METRICS: Final = "private_metrics"


@runtime_checkable
class _CatalogueReader(Protocol):
    """A solver whose initial state may hold public arrays that are made of the catalogue."""

    @property
    def reads_catalogue(self) -> bool: ...

    def public_arrays(self, catalogue: Catalogue) -> State: ...


class Schedule:
    """All steps of one job, with their plan.

    Guarantee:
        `plan` covers every release that any step of the job makes at one client.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.facts = facts_of(job)
        self.solver = _solver(job)
        self.steps: tuple[Step, ...] = self.solver.steps
        self._evaluation = len(self.steps) if job.evaluation_share > 0 else None
        if self._evaluation is not None:
            self.steps = (*self.steps, self._evaluation_step())
        self.plan: PrivacyPlan = make_plan(
            [step.release for step in self.steps],
            epsilon=job.epsilon,
            delta=job.delta,
            unit=job.unit,
            mode=job.mode,
            population=job.population,
            renyi_order=job.renyi_order,
            terms=job.terms,
        )

    def initial_state(self, catalogue: Callable[[], Catalogue] | None = None) -> State:
        """Public state before the first step.

        Args:
            catalogue: loads the catalogue of the job; called if the solver reads it.

        Raises:
            ConfigError: `config-not-found`, the solver reads the catalogue, and none is given.
            DataError: `catalogue-mismatch`, it is not the catalogue of the job; or it has
                nothing that the solver could read.
        """
        state, solver = self.solver.initial_state(self.job.seed), self.solver
        if not isinstance(solver, _CatalogueReader) or not solver.reads_catalogue:
            return state
        return {**state, **solver.public_arrays(_loaded(catalogue, self.job.catalogue_version))}

    def inputs(self, step: int, state: State) -> State:
        """What the server sends to clients in `step`."""
        if step == self._evaluation:
            return self.finish(state).arrays()
        return {name: state[name] for name in self.steps[step].inputs}

    def contribute(
        self, step: int, inputs: State, log: ClientLog, users: Ints
    ) -> Iterator[Contributions]:
        """What each of `users` contributes in `step`; for a mechanism and nobody else.

        Guarantee:
            Ratings reach a solver and a model that read weights, and no other.
        """
        if step == self._evaluation:
            model = model_from(self.solver.model_kind, self.solver.model_settings, inputs)
            data = given_to(model, log)
            if data.heldout is not None:
                yield private.contribution(data.histories, data.heldout, model, users)
            return
        yield from self.solver.contribute(step, inputs, given_to(self.solver, log), users)

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:
        """The state after `step`, from the noised total."""
        if step == self._evaluation:
            return {**state, METRICS: total.values}
        return self.solver.advance(step, state, total)

    def finish(self, state: State) -> Model:
        """The model that the state holds."""
        return self.solver.finish(state)

    def _evaluation_step(self) -> Step:
        share = self.job.evaluation_share
        training = sum(step.release.share for step in self.steps)
        release = private.evaluation_shape(training * share / (1 - share))
        return Step(release, self.solver.model_specs, "count")


def _loaded(catalogue: Callable[[], Catalogue] | None, version: str) -> Catalogue:
    if catalogue is None:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            "the solver reads features of the items, and no catalogue is given.",
            where="settings.feature_width",
            remedy="Put catalogue.json where the job is, or ask for a feature_width of 0.",
        )
    found = catalogue()
    if found.version != version:
        raise DataError(
            Code.CATALOGUE_MISMATCH,
            f"the catalogue is {found.version[:16]}…, the job's is {version[:16]}….",
            where="catalogue",
            remedy="Put the catalogue there that the job was made with.",
        )
    return found


def facts_of(job: Job) -> PublicFacts:
    """What a job tells its solver."""
    return PublicFacts(
        n_items=job.n_items,
        population=job.population,
        clients=job.clients,
        epsilon=job.epsilon,
        delta=job.delta,
        signal=job.signal,
        private=job.mode != "none",
        central=job.mode == "distributed",
    )


def count_steps(job: Job) -> int:
    """How many steps, and so releases, the job has; its plan is not made for that.

    Raises:
        ConfigError: unknown solver or settings.
        PlanError: `plan-unreachable`, a solver that chooses its size by ε finds none.
    """
    return _counted(job.model_dump_json())


@functools.lru_cache(maxsize=16)
def _counted(canonical: str) -> int:
    job = Job.model_validate_json(canonical)
    return len(_solver(job).steps) + (job.evaluation_share > 0)


def _solver(job: Job) -> Solver:
    return make_solver(job.solver, job.settings, facts_of(job))


@functools.lru_cache(maxsize=16)
def _cached(canonical: str) -> Schedule:
    return Schedule(Job.model_validate_json(canonical))


def schedule_of(job: Job) -> Schedule:
    """The schedule of `job`, made once per process (planning takes a second or so).

    Raises:
        ConfigError: unknown solver or settings.
        PlanError: no plan meets what the job asks for.
        PolicyError: `policy-threshold`, its secure sums would not be safe.
    """
    return _cached(job.model_dump_json())
