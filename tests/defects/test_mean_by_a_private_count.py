"""Defect: something is divided by how many users, events or batches there really are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from client import app, training
from client.store import ClientStore
from common.arrays import Floats
from common.evaluation import private
from common.privacy.contributions import SparseRows
from common.privacy.mechanisms import GaussianSum
from common.protocol import HELLO, OK, Hello
from common.schedule import Schedule
from common.solvers.base import NoisyTotal
from tests.defects.support import SOLVERS, change_tables, only_users, releases_of, task_for

SAMPLED = {"rounds": 1, "local_steps": 3, "embedding_dim": 5, "sampling_rate": 0.5}
Defect = Callable[[pytest.MonkeyPatch], None]


def check(client_of: Callable[..., Any], solver: str) -> None:
    """Less the sum, a release is the same noise whoever is there: nothing divides either."""
    whole, *others = (
        releases_of(client_of(solver, change=change))
        for change in (None, only_users(47), only_users(5))
    )
    for releases in others:
        for more, less in zip(whole, releases, strict=True):
            off = float(np.abs(more.noise - less.noise).max()) * more.sigma
            assert off <= 2 * more.slack, f"{more.name}: counts show, by {off / more.sigma:.2g} σ"


def check_advance(client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Local steps on sampled users go by declared numbers, the same for every neighbour."""
    advance = Schedule.advance
    told = []
    for change in (None, only_users(47)):
        facts: list[tuple[float, float, float]] = []

        def spy(self: Schedule, step: int, state: Any, total: NoisyTotal) -> Any:
            facts.append((total.population, total.sampling_rate, total.noise_std))  # noqa: B023
            return advance(self, step, state, total)

        shop = client_of("dpsgd", change=change, settings=SAMPLED, renyi_order=8)
        with monkeypatch.context() as patch:
            patch.setattr(Schedule, "advance", spy)
            reply = shop.ask(task_for(shop, 1))
        if reply.code != OK:
            raise RuntimeError(reply.code)
        planned = shop.schedule.plan.releases[1]
        assert len(facts) == planned.steps
        told.append(facts)
    declared = (float(shop.store.settings.population), 0.5)
    assert {fact[:2] for facts in told for fact in facts} == {declared}, "a count is told"
    assert len({fact for facts in told for fact in facts}) == 1, "a count is told"


def check_hello(client_of: Callable[..., Any]) -> None:
    """The population that weighs a client's releases is declared, not counted."""
    shop, hellos = client_of("popularity"), []
    for users in (48, 47, 5):
        change_tables(shop.folder, only_users(users))
        hellos.append(Hello.from_records(shop.send(RecordDict(), HELLO).content))
    assert {hello.population for hello in hellos} == {shop.store.settings.population}, "counted"
    assert len({hello.model_dump_json() for hello in hellos}) == 1, "the hello tells of users"


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_count_divides_a_release(client_of: Callable[..., Any], solver: str) -> None:
    check(client_of, solver)


def test_local_steps_go_by_declared_numbers(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_advance(client_of, monkeypatch)


def test_the_hello_says_what_was_declared(client_of: Callable[..., Any]) -> None:
    check_hello(client_of)


def mean_after_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sum and noise over the number of users: the size of the noise tells it."""
    sound = training._sum

    def mean(index: int, schedule: Any, inputs: Any, store: ClientStore, mechanism: Any) -> Floats:
        return sound(index, schedule, inputs, store, mechanism) / store.histories.n_users

    monkeypatch.setattr(training, "_sum", mean)


def mean_before_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each contribution over the number of users: one user more moves everybody's."""
    contribute = Schedule.contribute

    def mean(self: Schedule, *args: Any) -> Iterator[SparseRows]:
        for batch in contribute(self, *args):
            for block in batch.expand(1 << 20):
                yield replace(block, values=block.values / len(args[-1]))

    monkeypatch.setattr(Schedule, "contribute", mean)


def mean_of_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hits over the users who have a held-out item, as every other library reports them."""
    contribution = private.contribution

    def mean(histories: Any, heldout: Any, *args: Any, **options: Any) -> SparseRows:
        block = contribution(histories, heldout, *args, **options)
        return replace(block, values=block.values / max(1, int(np.sum(heldout >= 0))))

    monkeypatch.setattr(private, "contribution", mean)


def real_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local step divides by the users who are there."""
    counts = _count_samples(monkeypatch)
    monkeypatch.setattr(
        training,
        "NoisyTotal",
        lambda **fields: NoisyTotal(**{**fields, "population": float(counts[-1][0])}),
    )


def sampled_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local step divides by the users who were sampled."""
    counts = _count_samples(monkeypatch)
    monkeypatch.setattr(
        training,
        "NoisyTotal",
        lambda **fields: NoisyTotal(
            **{**fields, "population": max(1, counts[-1][1]) / fields["sampling_rate"]}
        ),
    )


def _count_samples(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Users, and users who were sampled, of every sum."""
    sample, counts = GaussianSum.sample, []

    def counting(self: GaussianSum, n_users: int) -> Any:
        chosen = sample(self, n_users)
        counts.append((n_users, len(chosen)))
        return chosen

    monkeypatch.setattr(GaussianSum, "sample", counting)
    return counts


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "defect",
    [mean_after_noise, mean_before_noise, mean_of_metrics],
    ids=lambda d: d.__name__,
)
def test_a_mean_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str, defect: Defect
) -> None:
    defect(monkeypatch)
    with pytest.raises(AssertionError, match="counts show"):
        check(client_of, solver)


def test_a_real_batch_size_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_batch_size(monkeypatch)
    with pytest.raises(AssertionError, match="counts show"):
        check(client_of, "dpsgd")


@pytest.mark.parametrize("defect", [real_batch_size, sampled_batch_size], ids=lambda d: d.__name__)
def test_a_batch_size_of_sampled_users_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, defect: Defect
) -> None:
    defect(monkeypatch)
    with pytest.raises(AssertionError, match="a count is told"):
        check_advance(client_of, monkeypatch)


def test_a_counted_population_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight for the server's average, as FedAvg's `num_examples`."""
    hello = app.answer_hello

    def counted(message: Message, settings: Any, *args: Any) -> Message:
        store = ClientStore.open(opened[-1])
        users = {"population": store.histories.n_users}
        return hello(message, settings.model_copy(update=users), *args)

    opened: list[Any] = []
    resolve = app.resolve_home

    def remembering(*args: Any, **options: Any) -> Any:
        home = resolve(*args, **options)
        opened.append(home.folder)
        return home

    monkeypatch.setattr(app, "resolve_home", remembering)
    monkeypatch.setattr(app, "answer_hello", counted)
    with pytest.raises(AssertionError, match="counted"):
        check_hello(client_of)
