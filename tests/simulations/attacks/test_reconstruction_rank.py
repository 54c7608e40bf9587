"""Rankings and their figures against brute force, and searches where the answer is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Histories
from simulations.attacks.reconstruction_rank import (
    average_precision,
    chance_average_precision,
    log_ratios,
    lone_rows,
    popularity_prior,
    precision,
    rehearsed,
    search,
)

ITEMS, WIDTH = 40, 6


def histories(rows: list[list[int]], items: int = ITEMS) -> Histories:
    indptr = np.cumsum([0, *map(len, rows)])
    joined = np.array([item for row in rows for item in sorted(row)], dtype=np.int64)
    return Histories(indptr, joined, np.ones(len(joined)), items)


@given(st.data())
def test_figures_agree_with_counting(data):
    items = data.draw(st.integers(1, 8))
    own = data.draw(st.sets(st.integers(0, items - 1), min_size=1))
    order = data.draw(st.permutations(range(items)))
    scores = np.zeros((1, items))
    scores[0, order] = np.arange(items, 0, -1)
    truth = histories([sorted(own)], items)
    hits = [item in own for item in order]
    places = [k for k, hit in enumerate(hits) if hit]
    downs = [sum(hits[: k + 1]) / (k + 1) for k in places]
    assert precision(scores, truth)[0] == pytest.approx(sum(hits[: len(own)]) / len(own))
    assert average_precision(scores, truth)[0] == pytest.approx(sum(downs) / len(own))


@pytest.mark.parametrize(("size", "items"), [(1, 1), (1, 5), (2, 5), (3, 6), (6, 6)])
def test_chance_is_the_mean_over_all_orders(size, items):
    truth = histories([list(range(size))], items)
    values = [
        average_precision(-np.array([order], dtype=float), truth)[0]
        for order in itertools.permutations(range(items))
    ]
    assert chance_average_precision(size, items) == pytest.approx(np.mean(values))


def test_the_guess_without_a_release_does_not_use_the_users_own_data():
    """Whatever the target had, the others' popularity is the same for them, up to its level."""
    rng = np.random.default_rng(0)
    others = [sorted(rng.choice(ITEMS, 5, replace=False).tolist()) for _ in range(9)]
    found = [
        popularity_prior(histories([*others, mine]), np.array([9]))[0]
        for mine in ([0, 1, 2], [7, 20, 39])
    ]
    assert found[0] == pytest.approx(found[1])
    counts = np.bincount(np.concatenate(others), minlength=ITEMS)
    assert (np.argsort(-found[0], kind="stable") == np.argsort(-counts, kind="stable")).all()


def imagine_rank_one(directions: np.ndarray):
    """A solver like `subspace`: 1/√n on own rows, along the sum of the items' directions."""

    def imagine(guessed: Histories) -> np.ndarray:
        made = np.zeros((guessed.n_users, ITEMS, directions.shape[1]))
        for user in range(guessed.n_users):
            items = guessed.items[guessed.indptr[user] : guessed.indptr[user + 1]]
            along = directions[items].sum(axis=0)
            made[user, items] = along / np.linalg.norm(along) / math.sqrt(len(items))
        return made

    return imagine


@pytest.fixture
def game():
    rng = np.random.default_rng(8)
    truth = histories([sorted(rng.choice(ITEMS, 6, replace=False).tolist()) for _ in range(60)])
    imagine = imagine_rank_one(rng.normal(size=(ITEMS, WIDTH)))
    return rng, truth, imagine, imagine(truth)


def test_without_noise_every_item_is_found(game):
    _, truth, imagine, remains = game
    scores, _ = search(remains, truth.lengths, imagine, lone_rows(imagine, ITEMS, WIDTH))
    assert precision(scores, truth).mean() == 1.0


def test_without_anything_of_the_user_it_is_chance(game):
    rng, truth, imagine, remains = game
    noise = rng.normal(size=remains.shape)
    found = precision(
        search(noise, truth.lengths, imagine, lone_rows(imagine, ITEMS, WIDTH))[0], truth
    )
    assert abs(found.mean() - 6 / ITEMS) < 6 * math.sqrt(6 / ITEMS / (6 * 60))


def test_less_noise_shows_more(game):
    rng, truth, imagine, remains = game
    noise = rng.normal(size=remains.shape)
    found = [
        precision(
            search(remains + s * noise, truth.lengths, imagine, lone_rows(imagine, ITEMS, WIDTH))[
                0
            ],
            truth,
        ).mean()
        for s in (0.01, 0.1, 0.3, 3.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.99
    assert found[1] > 0.6


@pytest.mark.parametrize(("noise_std", "gain"), [(0.15, 0.1), (20.0, -0.04)])
def test_what_is_known_before_helps_and_a_useless_release_does_not_harm(game, noise_std, gain):
    """A Gaussian hint, as log odds; half of the users are rehearsed on, the others attacked."""
    rng, truth, imagine, remains = game
    hint = rng.normal(size=(60, ITEMS))
    hint[truth.user_of_event, truth.items] += 1.0
    log_odds = hint - 0.5 + math.log(6 / (ITEMS - 6))
    heard = remains + noise_std * rng.normal(size=remains.shape)
    ratios = log_ratios(
        heard, truth.lengths, imagine, lone_rows(imagine, ITEMS, WIDTH), noise_std, log_odds
    )
    halves = np.arange(30), np.arange(30, 60)
    way, trust = rehearsed(ratios[:, :30], log_odds[:30], truth.take(halves[0]))
    other = truth.take(halves[1])
    before = precision(log_odds[30:], other).mean()
    both = precision((log_odds + trust * ratios[way])[30:], other).mean()
    alone = precision(
        search(heard, truth.lengths, imagine, lone_rows(imagine, ITEMS, WIDTH))[0][30:], other
    ).mean()
    assert both >= before + gain
    assert both > alone


def test_a_rehearsal_trusts_what_tells_and_nothing_else():
    rng = np.random.default_rng(4)
    truth = histories([sorted(rng.choice(ITEMS, 6, replace=False).tolist()) for _ in range(50)])
    telling = rng.normal(size=(50, ITEMS))
    telling[truth.user_of_event, truth.items] += 3.0
    log_odds = rng.normal(size=(50, ITEMS))
    assert rehearsed(np.stack([-telling, telling]), log_odds, truth) == (1, 1.0)
    assert rehearsed(np.stack([-telling, -telling]), log_odds, truth)[1] == 0.0


def test_the_sign_of_strengths_does_not_matter(game):
    """Gradients pull own rows down: the same search finds them."""
    _, truth, imagine, remains = game

    def pulling(guessed: Histories) -> np.ndarray:
        return -imagine(guessed)

    scores, strength = search(-remains, truth.lengths, pulling, lone_rows(pulling, ITEMS, WIDTH))
    assert (strength > 0).all()
    assert precision(scores, truth).mean() == 1.0
