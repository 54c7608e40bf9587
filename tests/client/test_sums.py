"""Secure sums at real clients: totals, sessions, charges."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from client.guard.releasing import key_of
from client.sum_store import SumStore
from common.errors import Code
from common.privacy.contributions import Contributions
from common.privacy.events import event_of
from common.privacy.filters import Cap, make_filter
from common.privacy.heads import Receipt
from common.privacy.shared_noise import natural, noise_std_of, shared_mechanism_for
from common.privacy.stream import NoiseSource
from common.protocol import OK, SumReply
from common.secure_sum.messages import STAGES
from tests.client.conftest import FIVE, shops_of
from tests.client.summing import Session

NAMES = [f"shop-{number}" for number in range(1, 6)]
RELEASED = ["open", "admit", "reserve", "spend", "agree"]


def exact_sum(session: Session, names: list[str]) -> np.ndarray:
    """What the users of these shops sum to, without noise or grid."""
    shape = session.first.schedule.steps[session.step].release
    total = np.zeros((shape.rows, shape.width))
    for name in names:
        store = session.shops[name].store
        users = np.arange(store.histories.n_users)
        inputs = {key: array.astype(float) for key, array in session.task.inputs.items()}
        for batch in session.first.schedule.contribute(session.step, inputs, store, users):
            batch.add_to(total)
    return total


def noise_of(session: Session, names: list[str]) -> np.ndarray:
    """Noise in the total, in planned standard deviations."""
    release = session.first.schedule.plan.releases[session.step]
    noise = natural(session.total(), release) - exact_sum(session, names)
    return noise / noise_std_of(release, len(names))


@pytest.mark.parametrize("step", [0, 1])
def test_the_total_is_the_sum_with_the_planned_noise(session: Session, step: int) -> None:
    session.step = step
    session.go(*STAGES)
    noise = noise_of(session, NAMES)
    assert abs(noise.std() - 1) < 5 / math.sqrt(2 * noise.size)
    assert abs(noise.mean()) < 5 / math.sqrt(noise.size)
    for name in NAMES:
        assert session.shops[name].kinds() == RELEASED


def test_what_leaves_is_masked_and_the_masks_cancel(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> None:
    """With noise from a seed the words without masks can be made again, and the masks seen."""
    run = prepare_run(mode="distributed", marketplace=FIVE, fixed_noise=True)
    session = Session(shops_of(run, open_shop))
    session.go(*STAGES)
    bare = {}
    for name, shop in session.shops.items():
        store, schedule = shop.store, shop.schedule
        noise = noise_for(store.settings.noise_seed, name, shop.job.seed, 0, 0)
        mechanism = shared_mechanism_for(schedule.plan, 0, noise)
        users = mechanism.sample(store.histories.n_users)
        bare[name] = mechanism.words(schedule.contribute(0, {}, store, users))
    assert (session.total() == sum(bare.values())).all()
    for name, words in session.words.items():
        mask = words - bare[name]
        assert len(np.unique(mask)) > 0.9 * mask.size  # 60 of 2^32 values
        assert 0.2 < (mask < 2**31).mean() < 0.8


def noise_for(seed: int, name: str, job_seed: int, step: int, session: int) -> NoiseSource:
    label = f"{seed}|{name}|{job_seed}|{step}|{session}"
    return NoiseSource.seeded(int.from_bytes(hashlib.sha256(label.encode()).digest(), "big"))


@pytest.mark.parametrize("last", ["keys", "shares", "masked", "survivors"])
def test_one_may_drop_out_after_any_stage(session: Session, last: str) -> None:
    here = STAGES.index(last) + 1
    session.go(*STAGES[:here])
    rest = NAMES[:4]
    session.go(*STAGES[here:], names=rest)
    summed = NAMES if "masked" in STAGES[:here] else rest
    assert len(session.words) == len(summed)
    noise = noise_of(session, summed)
    assert abs(noise.std() - 1) < 5 / math.sqrt(2 * noise.size)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_asked_again_says_the_same_and_costs_nothing(session: Session, stage: str) -> None:
    session.go(*STAGES[: STAGES.index(stage)])
    body = session.body("shop-1", stage)
    replies = [session.say("shop-1", stage, body) for _ in range(3)]
    assert {reply.code for reply in replies} == {OK}
    assert len({bytes_of(reply) for reply in replies}) == 1
    session.go(*STAGES[STAGES.index(stage) :])
    again = session.say("shop-1", stage, body)  # when the sum is over, too
    assert bytes_of(again) == bytes_of(replies[0])
    assert session.shops["shop-1"].kinds() == RELEASED


def bytes_of(reply: SumReply) -> bytes:
    records = reply.to_records()
    return repr([dict(records["reply"]), reply.words is None or reply.words.tobytes()]).encode()


def test_a_second_session_has_new_keys_new_noise_and_a_new_charge(session: Session) -> None:
    session.go("keys", "shares", "masked")
    second = replace_session(session, 1)
    second.go(*STAGES)
    assert second.total().shape == session.words["shop-1"].shape
    for name in NAMES:
        first, then = session.offers[name], second.offers[name]
        assert len({first.sharing_key, first.masking_key, then.sharing_key, then.masking_key}) == 4
        assert (session.words[name] != second.words[name]).mean() > 0.9
        rows = session.shops[name].rows()
        assert [row.kind for row in rows] == [*RELEASED[:-1], "reserve", "spend", "agree"]
        reserved = [row.body for row in rows if row.kind == "reserve"]
        assert [body["session"] for body in reserved] == [0, 1]
        assert reserved[0]["event"] == reserved[1]["event"]


def replace_session(session: Session, number: int, **changes: Any) -> Session:
    return Session(session.shops, session.step, number, session.inputs, **changes)


def test_the_noise_of_a_repeated_session_is_other_noise_even_from_a_seed(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> None:
    """The same noise under two masks and two lists of survivors would show one client's words."""
    run = prepare_run(mode="distributed", marketplace=FIVE, fixed_noise=True)
    totals = []
    for number in range(2):
        session = Session(shops_of(run, open_shop), number=number)
        session.go(*STAGES)
        totals.append(session.total())
    assert (totals[0] != totals[1]).mean() > 0.9


def test_the_budget_counts_every_session_and_refuses_what_it_cannot_pay(session: Session) -> None:
    """What the policy of a simulated client has room for: the plan, and one release once more."""
    shop = session.shops["shop-1"]
    session.step = 1
    session.go("keys", "shares", "masked")
    second = replace_session(session, 1)
    second.go("keys", "shares", "masked")
    third = replace_session(session, 2)
    reply = third.say("shop-1", "keys")
    assert reply.code == Code.BUDGET_LIFETIME  # looked at before anybody begins
    (refused,) = shop.rows("refuse")
    assert refused.body["would_be"]["epsilon_then"] > refused.body["would_be"]["epsilon_now"]
    assert len(shop.rows("reserve")) == 2
    found = make_filter(shop.policy.lifetime)
    event = event_of(shop.schedule.plan.releases[1])
    with shop.ledger() as ledger:
        assert sum(ledger.reserved().values()) == 2
        assert sum(ledger.pledged().values()) == len(shop.schedule.steps) - 1
    assert found.cost(event).divergence > 0
    assert second.say("shop-1", "survivors", second.survivors).code == OK  # it is still alive


def test_a_budget_that_others_used_up_meanwhile_is_found_before_words_are_made(
    session: Session,
) -> None:
    session.go("keys", "shares")
    shop = session.shops["shop-1"]
    small = Cap(epsilon=0.5, delta=shop.policy.lifetime.delta)
    shop.allow(lifetime=small.model_dump())
    reply = session.say("shop-1", "masked", session.shares_for("shop-1"))
    assert reply.code == Code.BUDGET_LIFETIME
    assert shop.kinds() == ["open", "refuse"]
    shop.allow(lifetime={**small.model_dump(), "epsilon": 20.0})  # the owner may let it go on
    session.go("masked")


def test_keys_charge_nothing_and_leave_no_job_behind(session: Session) -> None:
    session.go("keys", "shares")
    for shop in session.shops.values():
        assert shop.kinds() == ["open"]


def test_secrets_are_gone_from_the_disk_once_a_session_has_revealed(session: Session) -> None:
    session.go(*STAGES[:-1])
    folder = session.shops["shop-1"].folder
    hidden = secrets_in(folder, session)
    assert len(hidden) == 3 + 2 * 5 + 5  # keys and a seed, shares of both kinds, masks
    assert all(is_on_disk(folder, secret) for secret in hidden)
    session.go("reveal")
    told = session.reveals["shop-1"].model_dump_json()
    assert not [one for one in hidden if one not in told and is_on_disk(folder, one)]


@pytest.mark.parametrize("later", ["the next session", "the next step"])
def test_secrets_are_gone_once_something_newer_has_begun(session: Session, later: str) -> None:
    session.go("keys", "shares", "masked", "survivors")
    folder = session.shops["shop-1"].folder
    hidden = secrets_in(folder, session)
    if later == "the next session":
        replace_session(session, 1).go("keys")
    else:
        Session(session.shops, step=1).go("keys")
    assert not [one for one in hidden if is_on_disk(folder, one)]
    assert session.say("shop-1", "reveal", session.signed).code in {
        Code.SUM_SESSION,
        Code.SUM_STAGE,
    }


def secrets_in(folder: Any, session: Session) -> set[str]:
    """Every secret that the states of a session hold, in hexadecimal."""
    found: set[str] = set()
    with SumStore.open(folder) as states:
        for stage in STAGES[:4]:
            kept = states.find(key_of(session.task), stage)
            values = json.loads(kept.state) if kept is not None and kept.state else {}
            for name in ("sharing", "masking", "seed", "seed_share", "key_share"):
                found |= {values[name]} if name in values else set()
            for name in ("seeds", "keys"):
                found |= set(values.get(name, {}).values())
            found |= {*values.get("adds", ()), *values.get("subtracts", ())}
    return found


def is_on_disk(folder: Any, text: str) -> bool:
    files = [path for path in folder.iterdir() if path.name.startswith("sums.sqlite")]
    return any(text.encode() in path.read_bytes() for path in files)


def test_contributions_that_fail_leave_as_noise(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[Contributions]:
        raise ValueError("user-4711")

    session.go("keys", "shares")
    with monkeypatch.context() as patch:
        patch.setattr("common.schedule.Schedule.contribute", fail)
        session.go("masked")
    session.go("survivors", "reveal")
    release = session.first.schedule.plan.releases[0]
    noise = natural(session.total(), release) / noise_std_of(release, 5)
    assert abs(noise.std() - 1) < 5 / math.sqrt(2 * noise.size)


def test_a_receipt_that_comes_with_a_call_is_kept(session: Session) -> None:
    session.go("keys", "shares")
    call = session.call("masked", session.shares_for("shop-1"))
    head = session.ask("shop-1", call).head
    assert head is not None
    assert head.seq == 3
    receipt = Receipt.sign(session.first.key, head, "2030-01-01T00:00:00.000+00:00")
    again = session.ask("shop-1", replace(call, receipt=receipt))
    assert again.head == head
    with session.shops["shop-1"].ledger() as ledger:
        assert ledger.receipts() == [receipt]
