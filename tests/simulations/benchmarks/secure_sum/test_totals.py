"""Both sides of the race are right, whoever drops out; no timing is asserted."""

import numpy as np
import pytest

from common.errors import Code, SumError
from common.privacy.roster import Terms
from simulations.benchmarks.secure_sum.flower import CLIPPING, LEVELS, flower_mean
from simulations.benchmarks.secure_sum.growth import check_total, client_words, grown
from simulations.benchmarks.secure_sum.ours import Federation, most_gone, usual_terms
from simulations.benchmarks.secure_sum.race import lap, standings


@pytest.mark.parametrize("gone", [0, 1])
def test_flowers_mean_is_of_the_survivors(gone):
    values = np.random.default_rng(1).uniform(-2, 2, (5, 300)).astype(np.float32)
    mean, took = flower_mean(values, threshold=4, gone=gone)
    expected = values[: 5 - gone].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean, expected, atol=1.5 * 2 * CLIPPING / LEVELS)
    assert took.wall > 0


def test_flowers_sum_halts_below_its_threshold():
    values = np.zeros((5, 10), np.float32)
    with pytest.raises(SystemExit, match="halted"):
        flower_mean(values, threshold=4, gone=2)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_our_total_is_of_the_survivors(gone):
    made = client_words(1000)
    outcome = Federation(usual_terms(10)).session(made, gone).run()
    check_total(outcome.total, made, 10 - gone)
    with pytest.raises(SystemExit, match="wrong"):
        check_total(outcome.total, made, 9 - gone)


def test_our_sum_refuses_below_its_threshold():
    with pytest.raises(SumError) as caught:
        Federation(usual_terms(5)).session(client_words(10), gone=2).run()
    assert caught.value.code == Code.SUM_THRESHOLD


def test_every_stage_is_timed_on_both_sides_and_messages_are_counted():
    outcome = Federation(usual_terms(4)).session(client_words(10)).run()
    stages = {"keys", "shares", "masked", "survivors", "reveal"}
    assert set(outcome.clocks) == {(side, s) for side in ("clients", "server") for s in stages}
    whole, parts = outcome.seconds, (outcome.of("clients"), outcome.of("server"))
    assert whole.wall == pytest.approx(sum(part.wall for part in parts))
    assert outcome.traffic > 4 * 4 * 64


def test_the_usual_terms_are_safe():
    for clients in range(2, 201):
        terms = usual_terms(clients)
        terms.check()
        assert terms.threshold + most_gone(clients) == clients
        assert terms == Terms(clients, -(-4 * clients // 5), max(1, clients // 10))


def test_a_lap_runs_both_and_the_best_of_each_stands():
    runs = [{"clients": 5, "values": 50, **run} for run in lap(usual_terms(5), 50, gone=1)]
    assert [run["who"] for run in runs] == ["Flower", "ours", "ours", "ours"]
    (standing,) = standings(runs)
    assert standing["left"] == 4
    assert standing["ours, s"] == min(run["wall"] for run in runs[1:])
    assert standing["times faster"] == pytest.approx(standing["Flower, s"] / standing["ours, s"])


def test_growth_is_measured_in_processes_apart():
    row = grown(4, 200_000)
    assert (row["clients"], row["left"], row["words"]) == (4, 4, 200_000)
    megabytes = 200_000 * 4 / 2**20
    assert row["client, MB"] >= megabytes
    assert row["server, MB"] >= megabytes
    assert row["JSON, kB"] > 1
