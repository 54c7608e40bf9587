"""The game: fair coins, the real path, an attack that sees without noise and not with much."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from common.errors import ConfigError, DataError, PlanError
from common.privacy.gdp import gaussian_delta
from common.schedule import schedule_of
from simulations.attacks.membership import (
    LIKELIHOOD_RATIO,
    THRESHOLD,
    MembershipSettings,
    infer_membership,
    promise_of,
)
from simulations.attacks.membership_command import attack_membership
from simulations.attacks.membership_models import Pool, half, seats
from simulations.attacks.membership_section import membership_section
from simulations.attacks.roc import clopper_pearson
from simulations.prepare import client_names, declared_population


def settings(**values):
    return MembershipSettings.load({"users": 100, "items": 80, "shadows": 11, "seed": 4, **values})


@pytest.fixture(scope="module")
def pool():
    return Pool.of(settings(solver="popularity", clients=3).scenario)


@pytest.fixture(scope="module")
def bare():
    """An over-fitted model without noise: half as many dimensions as users."""
    return infer_membership(settings(settings={"embedding_dim": 24}))


@pytest.fixture(scope="module")
def hushed():
    return infer_membership(settings(epsilon=0.5, delta=1e-3, shadows=15))


def test_coins_are_fair_and_their_own(pool):
    coins = pool.coins(400, np.random.default_rng(0))
    rows, columns = coins.mean(axis=1), coins.mean(axis=0)
    assert abs(coins.mean() - 0.5) < 6 * 0.5 / math.sqrt(coins.size)
    assert rows.std() == pytest.approx(0.5 / math.sqrt(coins.shape[1]), rel=0.25)
    assert columns.std() == pytest.approx(0.5 / math.sqrt(coins.shape[0]), rel=0.45)


def test_a_half_holds_the_events_of_members_and_nobody_elses(pool):
    member = pool.coins(1, np.random.default_rng(1))[0]
    users = set(np.array(pool.dataset.partition.user_ids)[member])
    kept = half(pool.dataset, member)
    assert set(kept.split.train["user_id"]) == users
    whole = pool.dataset.split.train
    assert len(kept.split.train) == whole["user_id"].isin(users).sum()
    assert set(kept.split.heldout["user_id"]) <= users
    assert users <= set(kept.partition.user_ids)


def test_what_is_declared_does_not_tell_who_is_in(pool):
    """Populations are public constants: whoever is a member, and everybody stays at home."""
    declared = set()
    for member in pool.coins(200, np.random.default_rng(2)):
        dealt = seats(pool.dataset.partition, member)
        assert dealt.names == pool.dataset.partition.names
        home = dict(
            zip(pool.dataset.partition.user_ids, pool.dataset.partition.client, strict=True)
        )
        assert all(home[u] == c for u, c in zip(dealt.user_ids, dealt.client, strict=True))
        declared.add(tuple(declared_population(size) for size in dealt.sizes))
    assert len(declared) == 1


def test_the_model_is_the_sum_over_members_by_the_real_path(pool):
    """Popularity without noise is the exact sum of 1/√n over members, nobody else in it."""
    exact = Pool.of(settings(solver="popularity", clients=3).scenario)
    member = exact.coins(1, np.random.default_rng(3))[0]
    model = exact.train(member)
    chosen = exact.histories.take(np.flatnonzero(member))
    weights = 1 / np.sqrt(chosen.lengths[chosen.user_of_event])
    expected = np.bincount(chosen.items, weights, minlength=chosen.n_items)
    assert model.popularity == pytest.approx(np.maximum(expected, 1e-3), rel=1e-5)
    assert len(client_names(half(exact.dataset, member))) == 3


def test_histories_are_in_the_order_of_coins(pool):
    split, ids = pool.dataset.split, pool.dataset.partition.user_ids
    items = np.array(split.items)
    for position in (0, 17, len(ids) - 1):
        start, stop = pool.histories.indptr[position : position + 2]
        own = split.train.loc[split.train["user_id"] == ids[position], "item_id"]
        assert set(items[pool.histories.items[start:stop]]) == set(own)


def test_an_over_fitted_model_without_noise_is_found_out(bare):
    assert bare.promise is None
    assert bare.curves[LIKELIHOOD_RATIO].auc > 0.97
    assert bare.curves[THRESHOLD].auc > 0.8
    point = bare.curves[LIKELIHOOD_RATIO].at(0.05)
    assert point.tpr.interval[0] > 0.6
    assert bare.allowed(point) is None


def test_under_much_noise_it_is_chance_and_within_the_promise(hushed):
    deviation = math.sqrt((1 / 800 + 1 / 800) / 12)
    for name, roc in hushed.curves.items():
        assert abs(roc.auc - 0.5) < 6 * deviation + 0.05, name
        for limit in (0.02, 0.1, 0.3):
            point = roc.at(limit)
            fpr = np.array([clopper_pearson(point.fpr.hits, point.fpr.of, 1 - 1e-7)[1]])
            low = clopper_pearson(point.tpr.hits, point.tpr.of, 1 - 1e-7)[0]
            assert low <= hushed.promise.tpr(fpr)[0]


def test_without_noise_the_same_attack_breaks_that_promise(bare, hushed):
    """The bound has power: it is not met by whatever is attacked."""
    point = bare.curves[LIKELIHOOD_RATIO].at(0.05)
    low = clopper_pearson(point.tpr.hits, point.tpr.of, 1 - 1e-7)[0]
    fpr = np.array([clopper_pearson(point.fpr.hits, point.fpr.of, 1 - 1e-7)[1]])
    assert low > hushed.promise.tpr(fpr)[0]


def test_pairs_are_counted_once(bare):
    for roc in bare.curves.values():
        assert roc.members + roc.non_members == bare.users * bare.models
    assert all(len(areas) == bare.models == 12 for areas in bare.auc_by_target.values())


@pytest.mark.parametrize("epsilon", [0.5, 4.0])
def test_the_promise_is_that_of_the_plan(epsilon):
    job = Pool.of(settings(epsilon=epsilon, delta=1e-3).scenario).job
    plan = schedule_of(job).plan
    promise = promise_of(plan)
    assert (promise.epsilon, promise.delta) == (epsilon, 1e-3)
    assert 0.85e-3 < gaussian_delta(promise.mu, epsilon) <= 1e-3


def test_where_users_are_sampled_no_mu_is_claimed():
    plan = schedule_of(
        Pool.of(
            settings(
                epsilon=4.0, delta=1e-3, solver="dpsgd", settings={"sampling_rate": 0.5}
            ).scenario
        ).job
    ).plan
    assert promise_of(plan).mu is None


def test_too_few_users_are_refused(tmp_path):
    path = tmp_path / "events.csv"
    rows = [f"u{u},i{i},2024-01-0{1 + i % 9}" for u in range(6) for i in range(8)]
    path.write_text("\n".join(["user_id,item_id,datetime", *rows]))
    with pytest.raises(DataError, match="too few"):
        infer_membership(settings(data=str(path)))


@pytest.mark.parametrize(
    ("values", "error"), [({"solver": "none-such"}, ConfigError), ({"epsilon": -1.0}, PlanError)]
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(values, error):
    with pytest.raises(error):
        infer_membership(settings(**values))


def test_json_has_every_figure(bare, hushed):
    for result in (bare, hushed):
        found = json.loads(json.dumps(result.to_json(), allow_nan=False))
        assert set(found["curves"]) == {LIKELIHOOD_RATIO, THRESHOLD}
        assert MembershipSettings.load(found["settings"]) == result.settings
        assert (found["promise"] is None) == (result.promise is None)
        assert found["visible_epsilon"] > 3


def test_the_section_says_what_was_found_and_what_could_have_been(bare, hushed):
    for result in (bare, hushed):
        made = membership_section(result, name="m")
        root = ElementTree.fromstring(made)
        words = " ".join(root.itertext())
        assert f"{result.curves[LIKELIHOOD_RATIO].auc:.3f}" in words
        assert f"ε ≥ {result.visible_epsilon:.2f}" in words
        assert "not a private release" in words
        assert ("the promise allows" in words) == (result.promise is not None)
        assert root.find(".//svg") is not None
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(set(ids)) == len(ids)
        assert all(name.startswith("m") for name in ids)


def test_few_others_are_not_spoken_of(hushed):
    assert hushed.points(LIKELIHOOD_RATIO) == ()
    assert "too few others" in membership_section(hushed)
    many = replace(hushed.curves[THRESHOLD], non_members=1)
    assert replace(hushed, curves={THRESHOLD: many}).points(THRESHOLD) == ()


def run(*arguments: str):
    app = typer.Typer()
    app.command()(attack_membership)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_prints_json_and_writes_it(tmp_path):
    out = tmp_path / "result.json"
    small = ("--users", "40", "--shadows", "7", "--solver", "popularity", "--seed", "1")
    done = run(*small, "--no-privacy", "--format", "json", "--out", str(out))
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads(out.read_text())
    assert json.loads(done.stdout)["promise"] is None
    text = run(*small, "--epsilon", "2")
    assert text.exit_code == 0
    assert "the promise allows" in text.stdout
    assert "What could have been seen" in text.stdout


def test_an_error_is_one_line_with_its_code():
    done = run("--solver", "none-such")
    assert done.exit_code == 2
    assert "config-invalid" in done.stderr
    assert "Traceback" not in done.stderr
