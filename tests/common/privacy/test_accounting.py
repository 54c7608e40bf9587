import math

import pytest
from opacus.accountants import PRVAccountant
from opacus.accountants.analysis import gdp

from common.privacy import accounting
from common.privacy.accounting import (
    Guarantee,
    epsilon,
    for_shops,
    rdp_epsilon,
    rounded_up,
    slack,
)
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    GaussianSumEvent,
    NoPrivacyEvent,
)
from common.privacy.gdp import gaussian_delta
from common.privacy.roster import Terms


def gaussian(sigma, rate=1.0, steps=1, rows=1, width=1, sampler="exact"):
    sigma_grid = 2**26 if sampler == "exact" else 2**12
    return GaussianSumEvent(
        sampler=sampler,
        sigma_grid=sigma_grid,
        clip_grid=round(sigma_grid / sigma),
        rows=rows,
        width=width,
        sampling_rate=rate,
        steps=steps,
    )


def analytic(mu, delta):
    low, high = 0.0, 1000.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def test_golden_values_of_the_design():
    """σ=1.5, q=0.04, 2250 steps, δ=1e-5: between PLD's bounds, below RDP, near PRV."""
    event = gaussian(1.5, 0.04, 2250)
    ours = epsilon([event], 1e-5)
    assert 6.746 <= ours <= 6.770
    assert rdp_epsilon([event], 1e-5) == pytest.approx(7.329, abs=2e-3)
    prv = PRVAccountant()
    prv.history = [(1.5, 0.04, 2250)]
    assert prv.get_epsilon(1e-5) == pytest.approx(6.779, abs=2e-3)
    assert ours <= prv.get_epsilon(1e-5) <= rdp_epsilon([event], 1e-5)


def test_opacus_gdp_is_below_the_lower_bound_and_so_never_used():
    claimed = gdp.compute_eps_poisson(
        steps=2250, noise_multiplier=1.5, sample_rate=0.04, delta=1e-5
    )
    assert claimed == pytest.approx(6.602, abs=2e-3)
    assert claimed < 6.746 <= epsilon([gaussian(1.5, 0.04, 2250)], 1e-5)


@pytest.mark.parametrize("sigma", [0.5, 0.75, 2.0, 10.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
def test_one_gaussian_agrees_with_the_closed_form_from_above(sigma, delta):
    ours = epsilon([gaussian(sigma)], delta)
    exact = analytic(1 / gaussian(sigma).noise_multiplier, delta)
    assert exact - 1e-9 <= ours <= exact * (1 + 2e-3) + 1e-3


def test_gaussians_compose_by_their_precisions():
    events = [gaussian(2.0, steps=3), gaussian(1.0), gaussian(5.0, steps=10)]
    mu = math.sqrt(3 / 4 + 1 + 10 / 25)
    exact = analytic(mu, 1e-5)
    assert exact - 1e-6 <= epsilon(events, 1e-5) <= exact * 1.002
    assert epsilon(events, 1e-5) <= rdp_epsilon(events, 1e-5)


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"), [(1.0, 0.2, 60), (0.8, 0.05, 200), (3.0, 0.5, 20)]
)
def test_sampled_gaussians_lie_between_rdp_and_prv(sigma, rate, steps):
    ours = epsilon([gaussian(sigma, rate, steps)], 1e-5)
    prv = PRVAccountant()
    prv.history = [(sigma, rate, steps)]
    assert ours <= rdp_epsilon([gaussian(sigma, rate, steps)], 1e-5)
    assert ours == pytest.approx(prv.get_epsilon(1e-5), abs=0.02)


def test_sampling_at_rate_one_is_the_plain_gaussian():
    sampled = epsilon([gaussian(2.0, 1 - 1e-12)], 1e-5)
    assert sampled == pytest.approx(epsilon([gaussian(2.0)], 1e-5), abs=1e-3)


def test_mixtures_cost_more_than_their_parts():
    plain, sampled = gaussian(3.0), gaussian(1.0, 0.1, 50)
    both = epsilon([plain, sampled], 1e-5)
    assert both > max(epsilon([plain], 1e-5), epsilon([sampled], 1e-5))
    assert both <= rdp_epsilon([plain, sampled], 1e-5)
    assert both == pytest.approx(epsilon([sampled, plain], 1e-5))


def test_nothing_costs_nothing_and_no_privacy_costs_everything():
    assert epsilon([], 1e-5) == 0
    assert epsilon([gaussian(1.0), NoPrivacyEvent(rows=1, width=1, steps=1)], 1e-5) == math.inf


def test_slack_of_the_samplers_is_paid_from_delta():
    few = gaussian(1.0, sampler="fast")
    many = gaussian(1.0, sampler="fast", rows=10**6, width=10)
    delta = 1e-6
    assert epsilon([many], delta) > epsilon([few], delta)
    found = epsilon([many], delta)
    left = delta - slack(many.total_variation, found)
    assert 0 < left < delta
    assert found >= analytic(1.0, left) - 1e-6
    hopeless = gaussian(0.2, sampler="fast", rows=10**9, width=10)
    assert epsilon([hopeless], 1e-9) == math.inf


def test_slack_formula():
    assert slack(1e-12, 0.0) == pytest.approx(2e-12)
    assert slack(1e-12, 8.0) == pytest.approx((1 + math.exp(8)) * 1e-12)
    assert slack(1e-12, 1e6) > 1


def test_losses_too_large_for_the_samplers_are_not_certified():
    assert analytic(10.0, 1e-5) == pytest.approx(91.8, abs=0.1)
    assert epsilon([gaussian(0.1)], 1e-5) == math.inf  # (1 + e^92)·τ is beyond any δ


def test_an_epsilon_never_travels_alone():
    guarantee = Guarantee(8.0, 1e-5, "user", "local")
    text = str(guarantee)
    for part in ("8", "1e-05", "user", "add/remove", "local", accounting.ACCOUNTANT):
        assert part in text
    assert str(Guarantee(math.inf, 0.0, "user", "none")) == "no privacy guarantee"
    seeded = Guarantee(8.0, 1e-5, "user", "local", reproducible_noise=True)
    assert str(seeded) == "no privacy guarantee"


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [(7.9991, 3, 8.0), (7.99900001, 3, 8.0), (7.5, 3, 7.5), (0.0, 6, 0.0), (1e-9, 6, 1e-6)],
)
def test_an_epsilon_is_never_shown_smaller_than_it_is(value, decimals, shown):
    assert rounded_up(value, decimals) == shown
    assert f"ε = {shown:g} " in str(Guarantee(value, 1e-5, "user", "local")) or decimals != 3


# secure sums


def secure(sigma, honest=5, rows=1):
    """Shares of noise of `honest` clients that together have about `sigma`, over the clip."""
    return DistributedDiscreteGaussianEvent(
        clients=honest + 2,
        threshold=honest + 2,
        colluders=2,
        share_variance=2**50 // honest,
        clip_grid=round(2**25 / sigma),
        word_bits=64,
        rows=rows,
        width=1,
    )


@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("honest", [1, 3, 40])
def test_a_secure_sum_costs_what_one_party_s_sum_of_that_noise_does(sigma, honest):
    alone, shared = epsilon([gaussian(sigma)], 1e-5), epsilon([secure(sigma, honest)], 1e-5)
    assert shared == pytest.approx(alone, rel=1e-6)


def test_secure_sums_and_others_compose():
    both = epsilon([secure(2.0), gaussian(1.0), gaussian(1.5, 0.1, 30)], 1e-5)
    assert both == pytest.approx(
        epsilon([gaussian(2.0), gaussian(1.0), gaussian(1.5, 0.1, 30)], 1e-5)
    )
    assert rdp_epsilon([secure(2.0)], 1e-5) == pytest.approx(rdp_epsilon([gaussian(2.0)], 1e-5))


def test_the_distance_of_shares_is_paid_from_delta():
    coarse = secure(1.0).model_copy(update={"share_variance": 300, "clip_grid": 38})
    assert coarse.noise_multiplier == pytest.approx(1.0, rel=0.05)
    assert epsilon([coarse], 1e-6) == math.inf  # some 2·10^-5 for each value, at e^4.9
    assert epsilon([coarse], 1e-2) > epsilon([secure(coarse.noise_multiplier)], 1e-2)


def test_a_shopper_of_several_clients_moves_a_secure_sum_several_times():
    """Sensitivity m, not m releases: m times μ, where composition has √m times."""
    assert epsilon(for_shops([secure(6.0)], 3), 1e-5) == pytest.approx(
        epsilon([secure(2.0)], 1e-5), rel=1e-6
    )
    assert epsilon(for_shops([gaussian(6.0)], 3), 1e-5) == pytest.approx(
        epsilon([gaussian(6.0, steps=3)], 1e-5), rel=1e-9
    )
    assert epsilon(for_shops([secure(6.0)], 3), 1e-5) > epsilon([secure(6.0)] * 3, 1e-5)
    bare = NoPrivacyEvent(rows=1, width=1, steps=1)
    assert epsilon(for_shops([bare, secure(6.0)], 3), 1e-5) == math.inf


def test_one_shop_changes_nothing_and_more_cost_more():
    events = [secure(6.0), gaussian(4.0), gaussian(2.0, 0.2, 10)]
    assert for_shops(events, 1) == events
    found = [epsilon(for_shops(events, shops), 1e-5) for shops in (1, 2, 3, 5)]
    assert found == sorted(found)
    assert len(set(found)) == 4


def test_a_guarantee_says_whom_it_holds_against():
    shared = Guarantee(2.0, 1e-5, "user", "distributed", terms=Terms(10, 8, 2))
    assert shared.holds
    assert "mode distributed (against the server and up to 2 colluding clients" in str(shared)
    assert "at least 8 of 10 in every sum)" in str(shared)
    one = Guarantee(2.0, 1e-5, "user", "distributed", terms=Terms(3, 3, 1))
    assert "up to 1 colluding client," in str(one)
    assert "colluding" not in str(Guarantee(2.0, 1e-5, "user", "local"))
