"""The many-run audit accepts the real mechanism and catches what it must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.arrays import Ints
from common.errors import Code, ConfigError
from common.privacy.mechanisms import GaussianSum, SumMechanism
from common.privacy.plan import Release
from common.privacy.stream import NoiseSource
from simulations.attacks.defects import ClipsEvents, MechanismMaker, weakened
from simulations.attacks.many_run import ROWS, ManyRunSettings, audit_many_run, draw_ratios

SURE = 1 - 1e-6


def settings(**changes: Any) -> ManyRunSettings:
    """3,000 draws on each side; noise from a seed, and a bound that fails once in a million."""
    values: dict[str, Any] = {
        "solver": "popularity",
        "users": 20,
        "items": 20,
        "runs": 3_000,
        "confidence": SURE,
        "fixed_noise": True,
    }
    return ManyRunSettings(**{**values, **changes})


class SumsEverybody(GaussianSum):
    """Says that it samples, and takes everybody."""

    def sample(self, n_users: int) -> Ints:
        super().sample(n_users)
        self._chosen = np.ones(n_users, dtype=np.bool_)
        return np.arange(n_users)


def same_noise(release: Release, noise: NoiseSource) -> SumMechanism:
    """Begins at the same place of the same stream each time."""
    return GaussianSum(release, NoiseSource.seeded(1))


def test_the_real_mechanism_keeps_its_promise_and_the_bound_is_close() -> None:
    found = audit_many_run(settings())
    assert not found.broken
    assert found.mu is not None
    assert found.sums == 1
    assert 0.55 * found.mu < found.bound.mu <= found.mu
    assert found.bound.epsilon <= found.epsilon <= 4.0
    assert found.bound.epsilon < found.ceiling


@pytest.mark.parametrize(
    ("make", "runs"),
    [(weakened(0.5), 2_000), (ClipsEvents, 2_000), (same_noise, 200)],
    ids=["half", "events", "same"],
)
def test_what_is_broken_is_caught(make: MechanismMaker, runs: int) -> None:
    found = audit_many_run(settings(runs=runs), make)
    assert found.broken
    assert found.mu is not None
    assert found.bound.mu > 1.2 * found.mu


def test_two_thirds_of_the_noise_are_caught_and_three_halves_accepted() -> None:
    assert audit_many_run(settings(), weakened(2 / 3)).broken
    more = audit_many_run(settings(runs=1_000), weakened(1.5))
    assert more.mu is not None
    assert not more.broken
    assert more.bound.mu < 0.7 * more.mu


def test_a_quarter_of_the_noise_contradicts_epsilon_itself_where_the_promise_is_strict() -> None:
    """The bound that assumes nothing of the mechanism suffices."""
    strict = {"epsilon": 1.0, "delta": 1e-2, "runs": 1_000, "confidence": 0.999}
    found = audit_many_run(settings(**strict, noise_share=0.25))
    assert found.bound.epsilon > found.epsilon
    assert found.broken


def test_a_whole_plan_is_one_draw() -> None:
    whole = settings(solver="subspace", part="plan", runs=600, settings={"rounds": 3})
    found = audit_many_run(whole)
    assert found.sums == 4
    assert found.mu is not None
    assert 3.9 < found.epsilon <= 4.0
    assert 0 < found.bound.mu <= found.mu
    assert audit_many_run(whole, weakened(0.5)).broken
    step = audit_many_run(settings(solver="subspace", settings={"rounds": 3}, runs=100))
    assert step.sums == 1
    assert step.epsilon < found.epsilon


def test_values_of_chosen_rows_are_audited_where_all_of_them_leave() -> None:
    chosen = {"rounds": 1, "local_steps": 1, "row_selection": {"threshold": 50.0, "share": 0.2}}
    rows = settings(solver="dpsgd", settings=chosen, runs=1_000)
    found = audit_many_run(rows)
    assert not found.broken
    assert found.mu is not None
    assert 0 < found.bound.mu <= found.mu
    assert audit_many_run(rows, weakened(0.5)).broken


def test_sampled_steps_are_audited_by_their_own_ratio() -> None:
    sampled = settings(
        solver="dpsgd",
        settings={"rounds": 1, "local_steps": 1, "sampling_rate": 0.2, "popularity_share": 1e-3},
        epsilon=1.0,
        delta=1e-2,
        runs=2_000,
    )
    found = audit_many_run(sampled)
    assert found.mu is None
    assert not found.broken
    assert found.to_json()["mu_bound"] is None
    assert audit_many_run(sampled, SumsEverybody).broken


def test_ratios_have_the_law_of_the_plan() -> None:
    """Means ±μ²/2 and variance μ² for a Gaussian mechanism."""
    release = Release(step="a.b", rows=ROWS, width=1, share=1, clip_norm=0.3, noise_multiplier=0.8)
    for member, sign in ((True, 1), (False, -1)):
        found = draw_ratios([release], GaussianSum, NoiseSource.seeded(9), 1500, member=member)
        mu = 1 / 0.8
        assert found.mean() == pytest.approx(sign * mu**2 / 2, abs=6 * mu / np.sqrt(1500))
        assert found.std() == pytest.approx(mu, rel=6 / np.sqrt(3000))


def test_the_result_is_json_and_there_must_be_a_promise() -> None:
    found = audit_many_run(settings(runs=100)).to_json()
    assert found["attack"] == "many-run"
    assert found["judged_runs"] == 50
    assert found["promised_epsilon"] <= 4.0
    with pytest.raises(ConfigError) as caught:
        audit_many_run(settings(epsilon=None))
    assert caught.value.code is Code.PLAN_MODE
