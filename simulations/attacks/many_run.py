"""Many-run audit, white box: the real mechanism again and again on two neighbours.

One draw is one step of a real plan, or all of them: a fresh mechanism for each planned
release, as a client makes it, sums the users' contributions, and the log-likelihood ratio of
what it released is the statistic. The neighbours differ by one user of the worst kind: on
each of a few rows as much as a whole clip, so that a mechanism that clips events instead of
users lets twice a clip through. Rows and columns are as few as that needs; σ, clip, sampler
and sampling rate are the plan's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from common.arrays import Floats, Ints
from common.errors import Code, ConfigError
from common.privacy.accounting import epsilon as epsilon_of_events
from common.privacy.contributions import SparseRows
from common.privacy.events import event_of
from common.privacy.mechanisms import SumMechanism
from common.privacy.plan import PrivacyPlan, Release
from common.privacy.stream import NoiseSource
from common.schedule import schedule_of
from simulations.attacks.defects import ClipsEvents, MechanismMaker, weakened
from simulations.attacks.error_rates import SplitBound, many_run_ceiling, split_bound
from simulations.attacks.shadow import ShadowSettings, promised_mu

__all__ = [
    "ManyRunResult",
    "ManyRunSettings",
    "audit_many_run",
    "draw_ratios",
    "sampled_runs",
]

ROWS: Final = 4
"""Rows that the canary touches, each with a whole clip."""
_CANARY: Final = 1
_CHUNK: Final = 1_000


class ManyRunSettings(ShadowSettings):
    """One audit."""

    runs: int = Field(default=100_000, ge=4)
    """Draws on each neighbour; half of them choose the threshold."""
    part: Literal["step", "plan"] = "step"
    """One sum, the dearest of the plan, or all sums of the plan as one draw."""
    noise_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the planned noise that the mechanism really gets: below 1 it is broken on
    purpose, to see whether the audit notices."""
    clips_events: bool = False
    """Broken on purpose in another way: clips events, though the unit is the user. Not with
    `noise_share`, and for plans without sampling."""


@dataclass(frozen=True)
class ManyRunResult:
    """What was found beside what was promised.

    Attributes:
        settings: what was audited.
        sums: noisy sums in one draw.
        epsilon: promised for them at the settings' δ, by the accountant that reports.
        mu: promised under Gaussian DP, None where users are sampled.
        bound: what the draws show.
        ceiling: the ε that draws without one error would show.
    """

    settings: ManyRunSettings
    sums: int
    epsilon: float
    mu: float | None
    bound: SplitBound
    ceiling: float

    @property
    def broken(self) -> bool:
        """Whether a bound contradicts the promise, at the settings' confidence."""
        beyond_mu = self.mu is not None and self.bound.mu > self.mu
        return self.bound.epsilon > self.epsilon or beyond_mu

    def to_json(self) -> dict[str, Any]:
        """All figures, for a page or a machine."""
        gaussian = None if self.mu is None else self.bound.gaussian_epsilon
        return {
            "attack": "many-run",
            "settings": self.settings.model_dump(mode="json"),
            "sums": self.sums,
            "promised_epsilon": self.epsilon,
            "promised_mu": self.mu,
            "delta": self.settings.delta,
            "confidence": self.settings.confidence,
            "epsilon_bound": self.bound.epsilon,
            "mu_bound": None if self.mu is None else self.bound.mu,
            "gaussian_epsilon_bound": gaussian,
            "ceiling": self.ceiling,
            "judged_runs": self.bound.runs,
            "broken": self.broken,
        }


def audit_many_run(
    settings: ManyRunSettings,
    make: MechanismMaker | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ManyRunResult:
    """Audit the mechanism of a solver's real plan.

    Args:
        settings: plan, runs, confidence.
        make: the mechanism; None for the one that the settings say.
        tell: is told how far it is.

    Raises:
        ConfigError: `plan-mode`, there is no promise to audit.
        HushRecError: no such solver, or no plan.
    """
    if settings.epsilon is None:
        raise ConfigError(
            Code.PLAN_MODE,
            "mode `none` makes no noise.",
            where="epsilon",
            remedy="Give the ε of a plan to audit.",
        )
    releases, without, having = sampled_runs(settings, make, tell)
    events = [event_of(release) for release in releases]
    return ManyRunResult(
        settings=settings,
        sums=sum(release.steps for release in releases),
        epsilon=epsilon_of_events(events, settings.delta),
        mu=promised_mu(events),
        bound=split_bound(without, having, settings.delta, settings.confidence),
        ceiling=many_run_ceiling(
            settings.runs - settings.runs // 2, settings.confidence, settings.delta
        ),
    )


def sampled_runs(
    settings: ManyRunSettings,
    make: MechanismMaker | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[tuple[Release, ...], Floats, Floats]:
    """The releases of one draw, and the ratios without and with the canary, `[runs]` each."""
    releases = _audited(settings)
    broken = ClipsEvents if settings.clips_events else weakened(settings.noise_share)
    maker = broken if make is None else make
    without, having = (
        _all_draws(settings, releases, maker, tell, member=member) for member in (False, True)
    )
    return releases, without, having


def draw_ratios(
    releases: Sequence[Release],
    make: MechanismMaker,
    noise: NoiseSource,
    runs: int,
    *,
    member: bool,
) -> Floats:
    """Log-likelihood ratio of each of `runs` draws, for the canary being in, `[runs]`.

    Args:
        releases: of one draw, each of `[ROWS, 1]`.
        make: makes a fresh mechanism for each release of each draw.
        noise: what mechanisms spawn their streams from.
        runs: how many draws.
        member: whether the canary is in.
    """
    ratios = np.zeros(runs)
    for run in range(runs):
        ratios[run] = math.fsum(_ratio(r, make(r, noise), member=member) for r in releases)
    return ratios


def _ratio(release: Release, mechanism: SumMechanism, *, member: bool) -> float:
    """The sum of the log-likelihood ratios of all sums of a release."""
    deviation, rate = release.noise_multiplier, release.sampling_rate
    total = 0.0
    for _ in range(release.steps):
        users = mechanism.sample(_CANARY + member)
        values = mechanism.sum([_contributions(release.clip_norm, users)])
        projected = float(values.sum()) / (math.sqrt(ROWS) * release.clip_norm)
        ratio = (projected - 0.5) / deviation**2
        total += ratio if rate >= 1 else math.log1p(rate * math.expm1(ratio))
    return total


def _contributions(clip_norm: float, users: Ints) -> SparseRows:
    """User 0, whom both neighbours have, is orthogonal to user 1, the canary."""
    signs = np.where(np.arange(ROWS) % 2, -1.0, 1.0)
    values = [np.ones(ROWS) if user == _CANARY else signs for user in users]
    flat = np.concatenate(values) if values else np.zeros(0)
    rows = np.tile(np.arange(ROWS), len(users))
    return SparseRows(users, np.arange(len(users) + 1) * ROWS, rows, clip_norm * flat[:, None])


def _audited(settings: ManyRunSettings) -> tuple[Release, ...]:
    """The releases of one draw: the plan's noise on a few rows."""
    plan: PrivacyPlan = schedule_of(settings.job(settings.dataset())).plan
    small = [_on_few_rows(release) for release in plan.releases]
    if settings.part == "plan":
        return tuple(small)
    dearest = max(small, key=lambda r: r.sampling_rate / r.noise_multiplier)
    return (dearest.model_copy(update={"steps": 1}),)


def _on_few_rows(release: Release) -> Release:
    """The same noise on a few rows, all of which leave: what counts alone tell is not looked at."""
    changes: dict[str, Any] = {"rows": ROWS, "width": 1}
    if release.selection is not None:
        seen = {"dense_rows": 0, "threshold": -math.inf}
        changes["selection"] = release.selection.model_copy(update=seen)
    return release.model_copy(update=changes)


def _all_draws(
    settings: ManyRunSettings,
    releases: tuple[Release, ...],
    make: MechanismMaker,
    tell: Callable[[str], None],
    *,
    member: bool,
) -> Floats:
    """Chunk after chunk, so that somebody who waits sees how far it is."""
    seed = 2 * settings.seed + member
    noise = NoiseSource.seeded(seed) if settings.fixed_noise else NoiseSource.system()
    side, parts = "with" if member else "without", []
    for done in range(0, settings.runs, _CHUNK):
        tell(f"{side} the user: {done} of {settings.runs} draws")
        runs = min(_CHUNK, settings.runs - done)
        parts.append(draw_ratios(releases, make, noise, runs, member=member))
    return np.concatenate(parts)
