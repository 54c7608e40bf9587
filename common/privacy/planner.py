"""From ε to noise and back, by the filter that enforces and the accountant that reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from common.errors import Code, PlanError
from common.privacy.accounting import Guarantee
from common.privacy.accounting import epsilon as epsilon_of_events
from common.privacy.events import event_of
from common.privacy.filters import Cap
from common.privacy.noise_search import least_noise
from common.privacy.plan import Mode, NoiseShares, PrivacyPlan, Release, ReleaseShape, Unit
from common.privacy.roster import Terms

__all__ = ["epsilon_of", "guarantee_of", "make_plan"]


def make_plan(
    shapes: Sequence[ReleaseShape],
    *,
    epsilon: float | None,
    delta: float,
    unit: Unit,
    mode: Mode,
    population: int,
    renyi_order: int | None = None,
    terms: Terms | None = None,
) -> PrivacyPlan:
    """Decide the noise of every release.

    A release with share `s` gets 1/σ² = c · s / (steps · rate²), shares normalised: to
    first order the part `s` of the budget whatever its steps and sampling. One number c is
    then found so that the larger of ε by the accountant (PLD) and ε by the filter is at
    most `epsilon` and within 1e-4 of it, or as near as the grid's steps allow (those of
    `fast` are some 3e-4 apart). Without `renyi_order` the filter is that of Gaussian DP
    where no release is sampled; where one is, there is none: PLD alone decides.

    In mode `distributed` the multipliers are those of the honest shares together, always by
    the exact sampler, whatever a shape says. Words have 32 bits if that takes no more noise
    than 64 bits do, else 64.

    Guarantee:
        PLD's ε at `delta` is at most `epsilon`; and where there is a filter, one for
        (`epsilon`, `delta`) that has admitted nothing yet admits the plan, as a whole and
        release by release.

    Args:
        shapes: what the job's steps release, in order.
        epsilon: target ε; None in mode `none` only.
        delta: δ, below 1 / `population`.
        unit: what is protected; `user` is what these releases are proven for.
        mode: who adds noise.
        population: declared lower bound on the number of users.
        renyi_order: order of the Rényi filter that clients enforce, if they do.
        terms: of secure sums; in mode `distributed` and no other.

    Raises:
        PlanError: `plan-epsilon`, `plan-delta`, `plan-unit`, `plan-mode`, or
            `plan-unreachable` if no noise meets the target.
        PolicyError: `policy-threshold`, the terms are not safe.
    """
    _check(shapes, epsilon, unit, mode)
    if epsilon is not None:
        _check_figures(epsilon, delta, population)
    _check_sums(shapes, mode, terms)
    if epsilon is None:
        bare = tuple(Release(**shape.model_dump(), noise_multiplier=0.0) for shape in shapes)
        return PrivacyPlan(unit=unit, mode=mode, delta=delta, epsilon=None, releases=bare)
    cap = Cap(epsilon=epsilon, delta=delta)
    shares = None
    if terms is not None:
        shares = NoiseShares(**vars(terms), population=population, word_bits=64)
    releases = least_noise(shapes, cap, renyi_order, shares)
    return PrivacyPlan(unit=unit, mode=mode, delta=delta, epsilon=epsilon, releases=releases)


def epsilon_of(plan: PrivacyPlan, delta: float) -> float:
    """ε of all releases of `plan` at `delta`; infinite in mode `none`."""
    return epsilon_of_events([event_of(release) for release in plan.releases], delta)


def guarantee_of(plan: PrivacyPlan, *, reproducible_noise: bool = False) -> Guarantee:
    """What `plan` promises, with everything that belongs to an ε."""
    return Guarantee(
        epsilon=epsilon_of(plan, plan.delta),
        delta=plan.delta,
        unit=plan.unit,
        mode=plan.mode,
        reproducible_noise=reproducible_noise,
        terms=plan.terms,
    )


def _check(
    shapes: Sequence[ReleaseShape],
    epsilon: float | None,
    unit: Unit,
    mode: Mode,
) -> None:
    """Something is released, in a mode and for a unit that a plan can be made for."""
    if not shapes:
        raise PlanError(Code.PLAN_UNREACHABLE, "nothing is released.", where="plan")
    if (mode == "none") != (epsilon is None):
        raise PlanError(
            Code.PLAN_MODE,
            f"mode {mode!r} with ε = {epsilon}.",
            where="mode",
            remedy="Mode `none` takes no ε; every other mode needs one.",
        )
    if unit != "user":
        raise PlanError(
            Code.PLAN_UNIT,
            f"no event sensitivity is proven for {shapes[0].step.split('.')[0]!r}.",
            where="unit",
            remedy="Use unit `user`.",
        )


def _check_figures(epsilon: float, delta: float, population: int) -> None:
    """ε and δ are figures that promise something."""
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PlanError(
            Code.PLAN_EPSILON,
            f"ε = {epsilon} is not positive and finite.",
            where="epsilon",
            remedy="Choose ε above 0; 8 is weak, 1 is strong.",
        )
    if not 0 < delta * population < 1:
        raise PlanError(
            Code.PLAN_DELTA,
            f"δ = {delta} is not between 0 and 1/{population}, one over the declared users.",
            where="delta",
            remedy="Choose δ well below one over the number of users.",
        )


def _check_sums(shapes: Sequence[ReleaseShape], mode: Mode, terms: Terms | None) -> None:
    """One secure sum over everybody for each release, and somebody to make it with."""
    if (mode == "distributed") != (terms is not None):
        raise PlanError(
            Code.PLAN_MODE,
            f"mode {mode!r} with{'out' if terms is None else ''} terms of secure sums.",
            where="mode",
            remedy="Mode `distributed` takes a threshold and colluders; no other mode does.",
        )
    if terms is None:
        return
    terms.check()
    _check_secure(shapes)


def _check_secure(shapes: Sequence[ReleaseShape]) -> None:
    """What is released can be a secure sum."""
    for shape in shapes:
        if shape.sampling_rate < 1 or shape.steps > 1:
            raise PlanError(
                Code.PLAN_MODE,
                "several local steps between sums would train on a client's own share of the "
                "noise alone, and who is sampled out of a secure sum would not be hidden.",
                where=f"release {shape.step!r}",
                remedy="Use sampling rate 1 and one sum per release, or mode `local`.",
            )
        if shape.selection is not None:
            raise PlanError(
                Code.PLAN_MODE,
                "no choice of rows is proven where clients share the noise, and which rows of a "
                "secure sum have any would have to be known before it is made.",
                where=f"release {shape.step!r}",
                remedy="Leave the choice of rows out, or use mode `local`.",
            )
