"""Defect: the noise is smaller than what the ledger charges for, or than the plan promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from common import schedule
from common.arrays import Floats, Ints
from common.privacy.accounting import epsilon
from common.privacy.events import event_of, read_event
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import PrivacyPlan, Release
from common.privacy.stream import NoiseSource
from tests.defects.support import ALARM, JOBS, alter_draws, gaussian_bounds, releases_of

DRAWS = 400
SCALES = [1 / 2, 2 / 3, 3 / 2, 2.0]


def check(make_shop: Callable[[], Any]) -> None:
    """What leaves clients has the σ that their ledgers charge; what they charge is within ε."""
    noise: list[Floats] = []
    while sum(map(len, noise)) < DRAWS:
        shop = make_shop()
        noise += [release.noise for release in releases_of(shop)]
        charged = [read_event(row.body["event"]) for row in shop.rows("reserve")]
        assert epsilon(charged, shop.job.delta) <= shop.job.epsilon, "charged more than asked for"
    assert_standard_normal(np.concatenate(noise))


def check_mechanism(release: Release) -> None:
    """Sums over nobody have the σ that the plan gives to this release."""
    per_sum = release.rows * release.width
    sums = -(-DRAWS // per_sum)
    mechanism = GaussianSum(release.model_copy(update={"steps": sums}), NoiseSource.system())
    drawn = []
    for _ in range(sums):
        mechanism.sample(0)
        drawn.append(mechanism.sum([]).ravel())
    assert_standard_normal(np.concatenate(drawn) / (release.noise_multiplier * release.clip_norm))


def assert_standard_normal(noise: Floats) -> None:
    low, high = gaussian_bounds(len(noise))
    assert low < float(noise @ noise) < high, f"σ is {noise.std():.2f} of what it should be"


def test_the_bounds_have_power() -> None:
    """Two thirds and three halves of σ pass them less often than sound noise fails."""
    low, high = gaussian_bounds(DRAWS)
    assert chi2.sf(low * (3 / 2) ** 2, DRAWS) < ALARM
    assert chi2.cdf(high * (2 / 3) ** 2, DRAWS) < ALARM


@pytest.mark.parametrize("solver", JOBS)
def test_what_leaves_has_the_noise_that_was_charged(
    client_of: Callable[..., Any], solver: str
) -> None:
    check(lambda: client_of(solver, secret_noise=True))


@pytest.mark.parametrize("solver", JOBS)
def test_every_release_of_a_plan_has_its_noise(client_of: Callable[..., Any], solver: str) -> None:
    for release in client_of(solver).schedule.plan.releases:
        check_mechanism(release)


def scale_noise(monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    alter_draws(monkeypatch, lambda _, draws: np.rint(draws * scale).astype(np.int64))


@pytest.mark.parametrize(
    ("solver", "scale"),
    [*((solver, 1 / 2) for solver in JOBS), *(("subspace", scale) for scale in SCALES[1:])],
)
def test_noise_of_another_size_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str, scale: float
) -> None:
    scale_noise(monkeypatch, scale)
    with pytest.raises(AssertionError, match="σ is"):
        check(lambda: client_of(solver, secret_noise=True))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("solver", JOBS)
def test_a_release_with_noise_of_another_size_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str, scale: float
) -> None:
    scale_noise(monkeypatch, scale)
    for release in client_of(solver).schedule.plan.releases:
        with pytest.raises(AssertionError, match="σ is"):
            check_mechanism(release)


def test_noise_shared_out_among_clients_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each of three clients added a third of the variance, though nothing hides its sum."""
    alter_draws(monkeypatch, lambda _, draws: (draws / np.sqrt(3)).astype(np.int64))
    with pytest.raises(AssertionError, match="σ is"):
        check(lambda: client_of("subspace", secret_noise=True))


def test_halving_metrics_alone_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def halved(_: str, draws: Ints) -> Ints:
        return draws // 2 if len(draws) == 3 else draws

    alter_draws(monkeypatch, halved)
    *training, metrics = client_of("subspace").schedule.plan.releases
    for release in training:
        check_mechanism(release)
    with pytest.raises(AssertionError, match="σ is"):
        check_mechanism(metrics)


@pytest.mark.parametrize("solver", JOBS)
def test_a_plan_with_too_little_noise_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str
) -> None:
    """Sampler and ledger agree with each other, and with another ε than the job's."""
    make_plan = schedule.make_plan

    def halved(*args: Any, **values: Any) -> PrivacyPlan:
        plan = make_plan(*args, **values)
        less = [
            release.model_copy(update={"noise_multiplier": release.noise_multiplier / 2})
            for release in plan.releases
        ]
        return plan.model_copy(update={"releases": tuple(less)})

    monkeypatch.setattr(schedule, "make_plan", halved)

    with pytest.raises(AssertionError, match="charged more"):
        # plans are cached by job: this one must not be anybody else's; and twice μ must fit
        # into the budget, else the guard refuses it
        check(lambda: client_of(solver, secret_noise=True, job_id="bad0" * 8, epsilon=2.0))


@pytest.mark.parametrize("solver", JOBS)
def test_the_ledger_charges_for_the_plan(client_of: Callable[..., Any], solver: str) -> None:
    """Event by event: a charge for something else would make the checks above meaningless."""
    shop = client_of(solver)
    releases_of(shop)
    charged = [read_event(row.body["event"]) for row in shop.rows("reserve")]
    assert charged == [event_of(release) for release in shop.schedule.plan.releases]
