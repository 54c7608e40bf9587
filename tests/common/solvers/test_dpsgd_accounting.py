"""What is planned for `dpsgd` and how users are sampled, beside Opacus' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.utils.uniform_sampler import UniformWithReplacementSampler

from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.stream import NoiseSource
from tests.common.solvers.test_dpsgd import plan_for, solver_for


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning:opacus")
@pytest.mark.parametrize("sampling_rate", [1.0, 0.2])
def test_opacus_accountants_agree_with_the_plan(sampling_rate: float) -> None:
    solver = solver_for(1000, rounds=2, local_steps=6, sampling_rate=sampling_rate)
    plan = plan_for(solver)
    prv, rdp = PRVAccountant(), RDPAccountant()
    for release in plan.releases:
        for _ in range(release.steps):
            prv.step(noise_multiplier=release.noise_multiplier, sample_rate=release.sampling_rate)
            rdp.step(noise_multiplier=release.noise_multiplier, sample_rate=release.sampling_rate)
    assert prv.get_epsilon(plan.delta) == pytest.approx(8.0, rel=0.02)
    assert 8.0 * 0.999 < rdp.get_epsilon(plan.delta) < 8.0 * 1.3


def test_mechanism_samples_as_opacus_does() -> None:
    release = Release(
        step="x", rows=1, width=1, share=1.0, sampling_rate=0.3, steps=400, noise_multiplier=1.0
    )
    mechanism = GaussianSum(release, NoiseSource.seeded(3))
    generator = torch.Generator().manual_seed(3)
    opacus = UniformWithReplacementSampler(
        num_samples=50, sample_rate=0.3, steps=400, generator=generator
    )
    ours = np.zeros((400, 50))
    for step in range(400):
        ours[step, mechanism.sample(50)] = 1
        mechanism.sum([])
    theirs = np.zeros((400, 50))
    for step, batch in enumerate(opacus):
        theirs[step, batch] = 1
    for sampled in (ours, theirs):  # Bernoulli, independent: mean and variance of the size
        assert sampled.mean() == pytest.approx(0.3, abs=0.02)
        assert sampled.sum(axis=1).var() == pytest.approx(50 * 0.3 * 0.7, rel=0.3)
