"""The mechanisms that are broken on purpose are broken in that one way, and in no other."""

from __future__ import annotations

import numpy as np
import pytest

from common.privacy.contributions import SparseRows
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.stream import NoiseSource
from simulations.attacks.defects import ClipsEvents, weakened

RELEASE = Release(step="a.b", rows=4, width=1, share=1, clip_norm=2.0, noise_multiplier=1.0)
USERS = SparseRows(
    np.array([0, 3]), np.array([0, 1, 4]), np.array([2, 0, 1, 3]), np.full((4, 1), 9.0)
)


def test_with_all_its_noise_it_is_the_real_mechanism() -> None:
    real = GaussianSum(RELEASE, NoiseSource.seeded(1))
    whole = weakened(1.0)(RELEASE, NoiseSource.seeded(1))
    np.testing.assert_array_equal(whole.sum([USERS]), real.sum([USERS]))
    half = weakened(0.5)(RELEASE, NoiseSource.seeded(1))
    assert half.noise_std == pytest.approx(real.noise_std / 2, rel=1e-6)


def test_clipping_events_lets_a_clip_through_for_each() -> None:
    """The user with three events adds 2 to each of three rows; clipped, it is 2/√3."""
    real = GaussianSum(RELEASE, NoiseSource.seeded(1)).sum([USERS])
    broken = ClipsEvents(RELEASE, NoiseSource.seeded(1))
    np.testing.assert_array_equal(broken.sample(4), np.arange(4))
    more = broken.sum([USERS]) - real
    np.testing.assert_allclose(more[[0, 1, 3], 0], 2 - 2 / np.sqrt(3), atol=1e-6)
    assert more[2, 0] == pytest.approx(0.0, abs=1e-6)
    assert broken.event == GaussianSum(RELEASE, NoiseSource.seeded(1)).event
    assert broken.noise_std == 2.0 * 1.0
    assert not broken.is_private
