"""Who cannot contribute is missed by nobody, and memory does not grow with the crowd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.arrays import Floats, Histories, Ints
from common.solvers import contained, dpsgd_gradients, transitions
from common.solvers.gradient.gradients import Gradients
from tests.common.solvers.test_isolation import USERS, by_user, make_data, solver_for, state_for


@pytest.mark.parametrize("where", ["fold_in_users", "places_in"])
def test_a_user_whose_gradient_fails_is_missed_by_nobody(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """In the middle of a batch, while vectors are made or behind it."""
    solver, data = solver_for("dpsgd"), make_data()
    state, users = state_for(solver, 1, "ordinary"), np.arange(USERS)
    whole = by_user(solver.contribute(1, state, data, users))
    assert 40 in whole
    items, sound = (
        data.histories.take(np.array([40])).items.tobytes(),
        getattr(dpsgd_gradients, where),
    )

    def failing(*args: Any, **values: Any) -> Any:
        found = args[0].items if where == "fold_in_users" else args[1]
        if items in found.tobytes():
            raise MemoryError
        return sound(*args, **values)

    monkeypatch.setattr(dpsgd_gradients, where, failing)
    expected = {user: rows for user, rows in whole.items() if user != 40}
    for at_once in (256, 50):
        monkeypatch.setattr(contained, "USERS", at_once)
        assert by_user(solver.contribute(1, state, data, users)) == expected


@pytest.mark.parametrize("name", ["sequential", "neural"])
@pytest.mark.parametrize("where", ["examples", "gradients"])
def test_a_user_whose_network_fails_is_missed_by_nobody(
    monkeypatch: pytest.MonkeyPatch, name: str, where: str
) -> None:
    """In the middle of a chunk, while examples are made or while they are differentiated."""
    solver: Any = solver_for(name, start="random", train_items=True)
    data, users = make_data(), np.arange(70)
    state = state_for(solver, 1, "ordinary")
    whole = by_user(solver.contribute(1, state, data, users))
    assert 40 in whole
    if where == "examples":
        items, sound = data.histories.take(np.array([40])).items, solver._examples

        class Failing:
            def batch(self, histories: Histories, draw: Any) -> Any:
                for user in range(histories.n_users):
                    if np.array_equal(histories.take(np.array([user])).items, items):
                        raise MemoryError
                return sound.batch(histories, draw)

        monkeypatch.setattr(solver, "_examples", Failing())
    else:
        chunk = Gradients._chunk

        def failing(self: Gradients, some: Ints, *args: Any) -> Any:
            if 40 in some:
                raise RuntimeError("of one user's events")
            return chunk(self, some, *args)

        monkeypatch.setattr(Gradients, "_chunk", failing)
    expected = {user: rows for user, rows in whole.items() if user != 40}
    for at_once in (256, 50):
        monkeypatch.setattr(contained, "USERS", at_once)
        assert by_user(solver.contribute(1, state, data, users)) == expected


def test_a_user_whose_contexts_fail_is_missed_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    solver, data, users = solver_for("transitions"), make_data(), np.arange(USERS)
    step = len(solver.steps) - 1
    state = state_for(solver, step, "ordinary")
    whole = by_user(solver.contribute(step, state, data, users))
    poisoned, sound = data.histories.take(np.array([40])).items, transitions.contexts_before

    def failing(histories: Histories, *args: Any) -> Floats:
        for user in range(histories.n_users):
            if np.array_equal(histories.take(np.array([user])).items, poisoned):
                raise MemoryError
        return sound(histories, *args)

    monkeypatch.setattr(transitions, "contexts_before", failing)
    rest = by_user(solver.contribute(step, state, data, users))
    assert rest == {user: rows for user, rows in whole.items() if user != 40}


@pytest.mark.parametrize("name", ["sequential", "neural"])
def test_examples_are_made_of_few_users_at_a_time(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Of all at once, memory would end at some number of users, and with it everybody's part."""
    solver: Any = solver_for(name, start="random")
    sound, sizes = solver._examples, []

    class Counting:
        def batch(self, histories: Histories, draw: Any) -> Any:
            sizes.append(histories.n_users)
            return sound.batch(histories, draw)

    monkeypatch.setattr(solver, "_examples", Counting())
    data, state = make_data(), state_for(solver, 1, "ordinary")
    list(solver.contribute(1, state, data, np.arange(USERS)))
    assert max(sizes) <= 256
    assert sum(sizes) == np.count_nonzero(data.histories.lengths)
