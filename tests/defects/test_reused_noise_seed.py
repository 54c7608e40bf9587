"""Defect: two releases carry the same noise, so that their difference has none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from client import app
from common.arrays import Floats
from common.errors import Code
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release as Planned
from common.privacy.stream import NoiseSource
from simulations.run_folder import RunFolder
from tests.defects.support import ALARM, JOBS, release_of

ENTRIES = 60
"""Of every release, the first ones: a stream that begins anew begins alike."""


def check(client_of: Callable[..., Any], solver: str) -> None:
    """Noise of two clients, two jobs with one public seed, and two steps: all are strangers."""
    drawn = {}
    for position in (0, 1):
        for job_id in ("ab" * 16, "cd" * 16):
            shop = client_of(solver, secret_noise=True, position=position, job_id=job_id)
            for index in range(len(shop.schedule.steps) - 1):  # metrics are too few to tell
                drawn[f"client {position}, job {job_id[:2]}, step {index}"] = release_of(
                    shop, index
                ).noise[:ENTRIES]
    assert_strangers(drawn)


def check_mechanisms(sampler: str) -> None:
    """The same of what is made from one source: two mechanisms, and the sums of each."""
    planned = Planned(
        step="s", rows=ENTRIES, width=1, share=1.0, noise_multiplier=2.0, sampler=sampler, steps=3
    )
    source, drawn = NoiseSource.system(), {}
    for made in range(2):
        mechanism = GaussianSum(planned, source)
        for step in range(planned.steps):
            drawn[f"mechanism {made}, sum {step}"] = mechanism.sum([]).ravel()
    assert_strangers(drawn)


def check_seed_stays_in_the_lab(client_of: Callable[..., Any], open_shop: Any) -> None:
    """A deployed client whose owner left a seed behind releases nothing, and says why."""
    shop = client_of("popularity")
    run = RunFolder(shop.folder.parent.parent)
    deployed = replace(open_shop(run, deployed=True), job=shop.job)
    reply = deployed.ask(deployed.task())
    assert (reply.code, reply.arrays) == (str(Code.NOISE_SEEDED), {}), "a seed made noise"


def assert_strangers(drawn: dict[str, Floats]) -> None:
    """No two are correlated; scaled, shifted or with the sign turned they would be."""
    pairs = list(combinations(drawn, 2))
    limit = float(student.isf(ALARM / len(pairs) / 2, ENTRIES - 2))
    for one, other in pairs:
        r = float(np.corrcoef(drawn[one], drawn[other])[0, 1])
        statistic = abs(r) * np.sqrt((ENTRIES - 2) / max(1 - r * r, 1e-300))
        assert statistic < limit, f"{one} and {other} share noise: correlation {r:.3f}"


@pytest.mark.parametrize("solver", JOBS)
def test_no_noise_leaves_twice(client_of: Callable[..., Any], solver: str) -> None:
    check(client_of, solver)


@pytest.mark.parametrize("sampler", ["exact", "fast"])
def test_every_sum_has_noise_of_its_own(sampler: str) -> None:
    check_mechanisms(sampler)


def test_a_seed_stays_in_the_lab(client_of: Callable[..., Any], open_shop: Any) -> None:
    check_seed_stays_in_the_lab(client_of, open_shop)


def one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is a constant."""
    key = hashlib.sha256(b"hushrec").digest()
    monkeypatch.setattr(NoiseSource, "system", lambda: NoiseSource(key, reproducible=False))


def few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is one of four, as from a clock that ticks too slowly."""
    made: list[int] = []

    def system() -> NoiseSource:
        made.append(0)
        key = hashlib.sha256(bytes([len(made) % 4])).digest()
        return NoiseSource(key, reproducible=False)

    monkeypatch.setattr(NoiseSource, "system", system)


def keyed_by_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the step makes the key: every job begins with the same noise."""
    key: list[bytes] = []
    make = GaussianSum.__init__

    def remembering(self: GaussianSum, planned: Planned, noise: NoiseSource) -> None:
        key[:] = [hashlib.sha256(planned.step.encode()).digest()]
        make(self, planned, noise)

    monkeypatch.setattr(GaussianSum, "__init__", remembering)
    monkeypatch.setattr(NoiseSource, "spawn", lambda _: NoiseSource(key[0], reproducible=False))


def spawn_hands_on_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mechanisms of one source share a stream from its beginning."""
    monkeypatch.setattr(
        NoiseSource, "spawn", lambda self: NoiseSource(self._key, reproducible=False)
    )


def stream_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mechanism opens its stream at the beginning for every sum."""
    begin = GaussianSum._begin

    def again(self: GaussianSum) -> None:
        begin(self)
        self._noise = NoiseSource(self._noise._key, reproducible=False)

    monkeypatch.setattr(GaussianSum, "_begin", again)


@pytest.mark.parametrize("solver", JOBS)
@pytest.mark.parametrize("defect", [one_key, few_keys, keyed_by_the_job], ids=lambda d: d.__name__)
def test_noise_of_one_key_is_found(
    client_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    solver: str,
    defect: Callable[[pytest.MonkeyPatch], None],
) -> None:
    defect(monkeypatch)
    with pytest.raises(AssertionError, match="share noise"):
        check(client_of, solver)


@pytest.mark.parametrize("sampler", ["exact", "fast"])
@pytest.mark.parametrize(
    "defect", [one_key, spawn_hands_on_its_key, stream_begins_anew], ids=lambda d: d.__name__
)
def test_mechanisms_of_one_key_are_found(
    monkeypatch: pytest.MonkeyPatch, sampler: str, defect: Callable[[pytest.MonkeyPatch], None]
) -> None:
    defect(monkeypatch)
    with pytest.raises(AssertionError, match="share noise"):
        check_mechanisms(sampler)


def test_a_seed_that_leaves_the_lab_is_found(
    client_of: Callable[..., Any], open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "check_home", lambda *_: None)
    with pytest.raises(AssertionError, match="a seed made noise"):
        check_seed_stays_in_the_lab(client_of, open_shop)
