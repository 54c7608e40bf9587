"""One run by the real apps: exact sums are found out, a promise is not contradicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import client.guard.guard as guard_module
from common.errors import Code, ConfigError, PlanError
from common.privacy.mechanisms import ExactSum, SumMechanism
from common.privacy.plan import PrivacyPlan
from common.privacy.stream import NoiseSource
from common.schedule import schedule_of
from simulations.attacks.bounds import one_run_ceiling
from simulations.attacks.one_run import OneRunSettings, audit_one_run, scored_run

SMALL: dict[str, dict[str, Any]] = {
    "popularity": {},
    "subspace": {"rounds": 2, "embedding_dim": 4},
    "ials": {"rounds": 2, "embedding_dim": 4},
    "dpsgd": {"rounds": 1, "local_steps": 2, "embedding_dim": 4, "negatives": 5},
}
_START: dict[str, Any] = {"rounds": 1, "embedding_dim": 4}
_NETWORK: dict[str, Any] = {**_START, "subspace": _START, "negatives": 5, "length": 6}
LATER: dict[str, dict[str, Any]] = {
    "transitions": _START,
    "sequential": {**_NETWORK, "network": "attention", "blocks": 1},
    "neural": {**_NETWORK, "train_items": True, "start": "random", "local_steps": 2},
}


def small(solver: str, **changes: Any) -> OneRunSettings:
    values: dict[str, Any] = {
        "solver": solver,
        "settings": SMALL.get(solver, {}),
        "users": 40,
        "items": 40,
        "canaries": 150,
        "fixed_noise": True,
        "seed": 1,
    }
    return OneRunSettings(**{**values, **changes})


@pytest.mark.parametrize("solver", SMALL)
def test_without_noise_every_guess_is_right(solver: str) -> None:
    found = audit_one_run(small(solver, epsilon=None))
    (trial,) = found.trials
    assert trial.correct == trial.made == 112
    assert found.bound == trial.ceiling > 3.6
    assert found.ceiling == one_run_ceiling(150) > found.bound
    assert (found.epsilon, found.mu, found.mu_bound, found.delta) == (None, None, None, 0.0)
    assert not found.broken


@pytest.mark.parametrize("solver", ["popularity", "subspace", "dpsgd", *LATER])
def test_a_promise_that_is_kept_is_not_contradicted(solver: str) -> None:
    """Of networks, whose default optimiser has memory, and whose rows may all be dense, too."""
    given = {"settings": LATER[solver]} if solver in LATER else {}
    found = audit_one_run(small(solver, epsilon=1.0, confidence=1 - 1e-6, **given))
    assert found.epsilon is not None
    assert found.mu is not None
    assert found.bound <= found.epsilon <= 1.0
    assert found.mu_bound is not None
    assert found.mu_bound <= found.mu
    assert not found.broken


@pytest.mark.parametrize("solver", ["popularity", "subspace", "dpsgd"])
def test_scores_tell_about_as_much_as_the_plan_lets_out(solver: str) -> None:
    """Scores are N(±μ²/2, μ²) for the best attack: at ε = 10 canaries stand apart."""
    settings = small(solver, epsilon=10.0, canaries=400)
    scores, included, _ = scored_run(settings)
    mu = audit_one_run(settings).mu
    assert mu is not None
    apart = scores[included].mean() - scores[~included].mean()
    spread = np.sqrt((scores[included].var() + scores[~included].var()) / 2)
    assert 0.68 * mu < apart / spread < 1.32 * mu  # 5 standard deviations


def test_a_client_that_forgot_the_noise_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else is in place: plan, ledger, release gate."""

    class Forgetful(ExactSum):
        def __init__(self, plan: PrivacyPlan, index: int, noise: NoiseSource) -> None:
            super().__init__(plan.releases[index], noise)
            self._planned = real(plan, index, noise)

        @property
        def event(self) -> Any:
            return self._planned.event

    real = guard_module.mechanism_for

    def forget(plan: PrivacyPlan, index: int, noise: NoiseSource) -> SumMechanism:
        return Forgetful(plan, index, noise)

    monkeypatch.setattr(guard_module, "mechanism_for", forget)
    found = audit_one_run(small("popularity", epsilon=1.0, canaries=400))
    assert found.broken
    assert found.bound > 4.0


def test_the_result_is_one_json_object_with_the_settings() -> None:
    found = audit_one_run(small("popularity", epsilon=1.0)).to_json()
    assert found["attack"] == "one-run"
    assert found["settings"]["solver"] == "popularity"
    assert found["epsilon_bound"] == max(trial["epsilon_bound"] for trial in found["trials"])
    assert found["guesses"] in {trial["guesses"] for trial in found["trials"]}
    assert found["canaries"] == 150


def test_what_has_no_plan_or_no_inverse_is_refused() -> None:
    with pytest.raises(PlanError) as caught:
        audit_one_run(small("ials", epsilon=4.0))
    assert caught.value.code is Code.PLAN_MODE
    adam = {**SMALL["dpsgd"], "optimizer": "adam"}
    with pytest.raises(ConfigError, match="sgd with momentum 0") as refused:
        audit_one_run(small("dpsgd", settings=adam, canaries=20, known_states=False))
    assert refused.value.code is Code.CONFIG_INVALID


def test_the_auditor_chooses_what_no_promise_depends_on() -> None:
    """An optimiser with memory is replaced, and the plan stays what it was."""
    asked = small("dpsgd", settings={**SMALL["dpsgd"], "optimizer": "adam", "momentum": 0.9})
    chosen = asked.job(asked.dataset())
    as_asked = asked.model_copy(update={"known_states": False})
    job = as_asked.job(as_asked.dataset())
    assert (chosen.settings["optimizer"], job.settings["optimizer"]) == ("sgd", "adam")
    assert schedule_of(chosen).plan == schedule_of(job).plan
