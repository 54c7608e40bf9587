"""The attacks of a run's audit: on shadow data, with the run's own solver, settings and ε."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

from pydantic import Field

from common.audit.findings import Finding
from common.audit.statement import Bound
from common.config import Settings
from common.errors import HushRecError
from common.job import Job
from common.pages.markup import Markup
from common.pages.numbers import big, count
from common.solvers.registry import GRADIENT_SOLVERS
from simulations.attacks.bounds import epsilon_of_mu
from simulations.attacks.many_run import ManyRunSettings, audit_many_run
from simulations.attacks.membership import (
    LIKELIHOOD_RATIO,
    MembershipResult,
    MembershipSettings,
    infer_membership,
)
from simulations.attacks.membership_section import membership_section
from simulations.attacks.one_run import OneRunSettings, audit_one_run
from simulations.attacks.reconstruction import (
    POPULARITY,
    RELEASE_AND_POPULARITY,
    ReconstructionResult,
    ReconstructionSettings,
    reconstruct_items,
)
from simulations.attacks.reconstruction_section import reconstruction_section
from simulations.audit.honest import alone_settings, honest_shares

__all__ = ["Attack", "AttackSizes", "attack_run", "sizes_for"]

_SURE: Final = 1 - 1e-6
"""Confidence at which a bound above the promise is a finding: a check must not throw dice."""
_ONE_RUN_DELTA: Final = 1e-5
_SHARES, _FEWEST_RUNS = 8, 2_000
"""Honest shares up to which nothing is tried less often, and the least that shows anything."""
Tell: TypeAlias = Callable[[str], None]


class AttackSizes(Settings):
    """How much is tried; the defaults end within about two minutes on two cores."""

    users: int = Field(default=400, ge=20)
    """Users of the shadow shop of membership and reconstruction."""
    canaries: int = Field(default=1_000, ge=20)
    """Of the one-run audit."""
    runs: int = Field(default=20_000, ge=4)
    """Of the many-run audit, on each neighbour."""
    shadows: int = Field(default=23, ge=7)
    """Shadow models of each target of membership inference."""
    releases: int = Field(default=4, ge=2)
    """Attacked by reconstruction."""
    targets: int = Field(default=40, ge=1)
    """Users whose items are looked for in each release."""
    seed: int = Field(default=0, ge=0)
    """Decides shadow data and coins; noise comes from the operating system."""
    fixed_noise: bool = False
    """Take noise from `seed` too where an attack can, for tests."""


@dataclass(frozen=True)
class Attack:
    """One attack and what came of it.

    Attributes:
        name: as in `hushrec audit attack NAME`.
        title: in words.
        words: the result in a sentence, for the statement.
        bound: lower bound on ε, None where the attack shows none.
        promised: ε of what was attacked, None without a promise.
        ceiling: the ε that a perfect attack would have shown, None where it shows none.
        values: every figure.
        section: for a page; None where the table of attacks says all.
        seconds: wall time.
        findings: a bound that contradicts the promise.
    """

    name: str
    title: str
    words: str
    bound: float | None
    promised: float | None
    ceiling: float | None
    values: dict[str, Any]
    section: Markup | None = None
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()

    @property
    def for_statement(self) -> Bound:
        """What the statement says."""
        return Bound(name=self.title, words=self.words)

    def to_json(self) -> dict[str, Any]:
        """Figures, without the section."""
        return {
            "name": self.name,
            "title": self.title,
            "words": self.words,
            "epsilon_bound": self.bound,
            "epsilon_promised": self.promised,
            "ceiling": self.ceiling,
            "seconds": round(self.seconds, 1),
            "result": self.values,
        }


def sizes_for(job: Job) -> AttackSizes:
    """Smaller where each training takes clients through steps of their own."""
    sizes = AttackSizes()
    if job.solver in GRADIENT_SOLVERS:
        sizes = AttackSizes(shadows=7, releases=2, targets=20, users=200)
    if job.terms is not None:  # each draw takes as many mechanisms as there are honest shares
        runs = max(_FEWEST_RUNS, sizes.runs * _SHARES // max(_SHARES, job.terms.honest))
        sizes = sizes.model_copy(update={"runs": runs})
    return sizes


def attack_run(job: Job, sizes: AttackSizes, tell: Tell) -> list[Attack]:
    """Every attack, on one simulated client with shadow data; secure sums as `honest` says.

    One that cannot be made on a job with such settings says why, and shows nothing.
    """
    found = []
    for name, (title, attack) in _ATTACKS.items():
        started = time.monotonic()
        try:
            done = attack(job, sizes, partial(_tell_of, name, tell))
        except HushRecError as error:
            words = f"not tried: {error.message}"
            done = Attack(name, title, words, None, job.epsilon, None, {"not_tried": str(error)})
        found.append(replace(done, seconds=time.monotonic() - started))
    return found


def _tell_of(name: str, tell: Tell, what: str) -> None:
    tell(f"attack {name}: {what}")


def _one_run(job: Job, sizes: AttackSizes, tell: Tell) -> Attack:
    settings = OneRunSettings(
        solver=job.solver,
        settings=alone_settings(job),
        epsilon=job.epsilon,
        delta=min(job.delta or _ONE_RUN_DELTA, _ONE_RUN_DELTA),
        canaries=sizes.canaries,
        seed=sizes.seed,
        fixed_noise=sizes.fixed_noise,
    )
    result = audit_one_run(settings, tell)
    findings: tuple[Finding, ...] = ()
    if result.broken:
        tell("again, to be sure")
        again = audit_one_run(_surer(settings), tell)
        findings = _finding("one-run", again.broken, again.bound, again.epsilon, again.delta)
    words = (
        f"{count(settings.canaries)} canary users in one training show "
        f"{_at_least(result.bound, settings.confidence, result.delta)}"
        f"{_gaussian(result.mu_bound, result.delta)}{_beside(result.epsilon)}; "
        f"perfect guesses would have shown {result.ceiling:.1f}."
    )
    return Attack(
        name="one-run",
        title=_ATTACKS["one-run"][0],
        words=words,
        bound=result.bound,
        promised=result.epsilon,
        ceiling=result.ceiling,
        values=result.to_json(),
        findings=findings,
    )


def _many_run(job: Job, sizes: AttackSizes, tell: Tell) -> Attack:
    settings = ManyRunSettings(
        solver=job.solver,
        settings=alone_settings(job),
        epsilon=job.epsilon,
        delta=_delta(job, 1_000) or _ONE_RUN_DELTA,
        runs=sizes.runs,
        seed=sizes.seed,
        fixed_noise=sizes.fixed_noise,
    )
    make = honest_shares(job, settings.users)
    result = audit_many_run(settings, make, tell=tell)
    findings: tuple[Finding, ...] = ()
    if result.broken:
        tell("again, to be sure")
        again = audit_many_run(_surer(settings), make, tell=tell)
        findings = _finding(
            "many-run", again.broken, again.bound.epsilon, again.epsilon, settings.delta
        )
    words = (
        f"the dearest sum of the plan {count(settings.runs)} times on each of two neighbours shows "
        f"{_at_least(result.bound.epsilon, settings.confidence, settings.delta)}"
        f"{_gaussian(None if result.mu is None else result.bound.mu, settings.delta)}"
        f"{_beside(result.epsilon)}; no error at all would have shown {result.ceiling:.1f}."
    )
    return Attack(
        name="many-run",
        title=_ATTACKS["many-run"][0],
        words=words,
        bound=result.bound.epsilon,
        promised=result.epsilon,
        ceiling=result.ceiling,
        values=result.to_json(),
        findings=findings,
    )


def _membership(job: Job, sizes: AttackSizes, tell: Tell) -> Attack:
    result = infer_membership(
        MembershipSettings(
            solver=job.solver,
            settings=alone_settings(job),
            epsilon=job.epsilon,
            delta=None if job.epsilon is None else _delta(job, sizes.users),
            users=sizes.users,
            shadows=sizes.shadows,
            seed=sizes.seed,
        ),
        tell,
    )
    return Attack(
        name="membership",
        title=_ATTACKS["membership"][0],
        words=_membership_words(result),
        bound=None,
        promised=None if result.promise is None else result.promise.epsilon,
        ceiling=result.visible_epsilon,
        values=result.to_json(),
        section=membership_section(result),
    )


def _membership_words(result: MembershipResult) -> str:
    area = result.curves[LIKELIHOOD_RATIO].auc
    words = (
        f"members are told from others with an area under the curve of {area:.3f}, by chance 0.5"
    )
    if result.promise is not None:
        words += f", the promise allows {result.promise.auc:.3f}"
    points = result.points(LIKELIHOOD_RATIO)
    if points:
        point = points[0]
        words += f"; {point.tpr.rate:.1%} of them at {point.limit:.0%} false positives"
    return f"{words}."


def _reconstruction(job: Job, sizes: AttackSizes, tell: Tell) -> Attack:
    result = reconstruct_items(
        ReconstructionSettings(
            solver=job.solver,
            settings=_one_step(job),
            epsilon=job.epsilon,
            delta=None if job.epsilon is None else _delta(job, sizes.users),
            users=sizes.users,
            releases=sizes.releases,
            targets=sizes.targets,
            seed=sizes.seed,
        ),
        tell,
    )
    return Attack(
        name="reconstruction",
        title=_ATTACKS["reconstruction"][0],
        words=_reconstruction_words(result),
        bound=None,
        promised=job.epsilon,
        ceiling=None,
        values=result.to_json(),
        section=reconstruction_section(result),
    )


def _one_step(job: Job) -> dict[str, Any]:
    """The attack is on one sum: several local steps are none."""
    settings = alone_settings(job)
    return {**settings, "local_steps": 1} if job.solver in GRADIENT_SOLVERS else settings


def _reconstruction_words(result: ReconstructionResult) -> str:
    found = {name: success.to_json()["precision"] for name, success in result.success.items()}
    words = (
        f"{found[RELEASE_AND_POPULARITY]:.1%} of a user’s items among as many guesses with one "
        f"release at hand, {found[POPULARITY]:.1%} from what is popular among others alone"
    )
    if result.allowed_precision is not None:
        words += f", {result.allowed_precision:.1%} allowed by the promise"
    return f"{words}."


def _surer(settings: Any) -> Any:
    """The same once more with other noise and coins, at a confidence that a check can rest on."""
    return settings.model_copy(update={"confidence": _SURE, "seed": settings.seed + 1})


def _finding(
    name: str, broken: bool, bound: float, promised: float | None, delta: float
) -> tuple[Finding, ...]:
    if not broken or promised is None:
        return ()
    what = (
        f"ε is at least {bound:.3g}, or μ more than was promised, with confidence 1 - 10⁻⁶ at "
        f"δ = {big(delta)}; ε = {promised:.3g} was promised (unit user, add/remove one user)."
    )
    return (Finding(layer="attack", where=name, what=what),)


def _delta(job: Job, users: int) -> float:
    """The job's δ, or less where the shadow shop declares more users than the job."""
    return float(min(job.delta, users**-1.1))


def _at_least(bound: float, confidence: float, delta: float) -> str:
    return f"ε ≥ {bound:.2f} with {confidence:.0%} confidence at δ = {big(delta)}"


def _gaussian(mu: float | None, delta: float) -> str:
    """What the bound is for a mechanism that is known to be Gaussian."""
    if mu is None or delta == 0:
        return ""
    return f" ({epsilon_of_mu(mu, delta):.2f} if the noise is Gaussian)"


def _beside(promised: float | None) -> str:
    return "" if promised is None else f", where {promised:.2f} is promised by PLD"


_ATTACKS: Final[dict[str, tuple[str, Callable[[Job, AttackSizes, Tell], Attack]]]] = {
    "one-run": ("One run with canaries", _one_run),
    "many-run": ("One step repeated", _many_run),
    "membership": ("Membership in the published model", _membership),
    "reconstruction": ("Items from one release", _reconstruction),
}
