"""Defect: a sum, or a part of it, leaves without noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, norm

from common.arrays import Ints
from tests.defects.support import ALARM, EVALUATION_ROWS, JOBS, alter_draws, releases_of

BARE = 1e-3
"""An entry whose noise is below this share of σ counts as bare; sound ones are so rarely."""


def check(shop: Any) -> None:
    """No release leaves as the bare sum that it is about, nor do many entries of one."""
    for release in releases_of(shop):
        bare = int(np.sum(np.abs(release.noise) < BARE))
        likely = 2 * norm.cdf(BARE) - 1
        assert bare <= binom.isf(ALARM, release.noise.size, likely), release.name


@pytest.mark.parametrize("solver", JOBS)
def test_nothing_leaves_without_noise(client_of: Callable[..., Any], solver: str) -> None:
    check(client_of(solver, secret_noise=True))


def nothing(_: str, draws: Ints) -> Ints:
    return np.zeros_like(draws)


def first_rows_only(_: str, draws: Ints) -> Ints:
    """Most rows: as if noise were drawn for the items of one page of the catalogue."""
    draws[max(1, len(draws) // 4) :] = 0
    return draws


def none_on_metrics(_: str, draws: Ints) -> Ints:
    return np.zeros_like(draws) if len(draws) == EVALUATION_ROWS else draws


def none_on_models(_: str, draws: Ints) -> Ints:
    return draws if len(draws) == EVALUATION_ROWS else np.zeros_like(draws)


@pytest.mark.parametrize("solver", JOBS)
@pytest.mark.parametrize(
    "defect", [nothing, first_rows_only, none_on_metrics, none_on_models], ids=lambda d: d.__name__
)
def test_missing_noise_is_found(
    client_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    solver: str,
    defect: Callable[[str, Ints], Ints],
) -> None:
    alter_draws(monkeypatch, defect)
    with pytest.raises(AssertionError):
        check(client_of(solver, secret_noise=True))


def test_missing_noise_of_one_sampler_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_draws(monkeypatch, lambda name, draws: draws * (name != "fast"))
    check(client_of("dpsgd", secret_noise=True))
    with pytest.raises(AssertionError):
        check(client_of("dpsgd-fast", secret_noise=True))
