"""A server that deviates: it learns no client's words, whatever it asks, restarts or forges.

What would give a client away: a plain release of its words, shares of both secrets of one peer,
two totals that differ by one client, masks that the server knows, words with less noise.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import RecordDict

from client.guard.admission import close_job
from common.errors import Code
from common.privacy.signing import SigningKey
from common.protocol import OK, STEP, SUM, Reply, SumCall, SumReply
from common.protocol.sum_context import context_of
from common.schedule import schedule_of
from common.secure_sum.keys import PairKey
from common.secure_sum.messages import (
    STAGES,
    AgreementList,
    KeyList,
    KeyOffer,
    ShareList,
    SurvivorList,
)
from common.secure_sum.statements import signed_agreement, signed_offer
from tests.client.conftest import shops_of
from tests.client.summing import Session
from tests.conftest import shop_of

NAMES = [f"shop-{number}" for number in range(1, 6)]
ME = "shop-1"


def code_of(session: Session, records: RecordDict, kind: str = SUM) -> str:
    return Reply.from_records(session.shops[ME].send(records, kind).content).code


def some(names: list[str]) -> SurvivorList:
    return SurvivorList(survivors=tuple(sorted(names)))


# Which way a job is answered


def test_a_distributed_job_is_never_answered_by_a_plain_release(session: Session) -> None:
    """The most important one: the words alone carry one share of the noise."""
    shop = session.shops[ME]
    for step in range(len(shop.schedule.steps)):
        assert shop.ask(shop.task(step)) == Reply(str(Code.SUM_STAGE))
        assert shop.ask(shop.task(step, session=1)) == Reply(str(Code.SUM_STAGE))
    session.go("keys", "shares", "masked")
    call = session.call("masked", session.shares_for(ME))
    assert shop.ask(call.task) == Reply(str(Code.SUM_STAGE))
    assert shop.ask(replace(session.task, signature="")) == Reply(str(Code.SUM_STAGE))
    session.go("survivors", "reveal")
    assert shop.ask(call.task) == Reply(str(Code.SUM_STAGE))
    assert [k for k in shop.kinds() if k != "refuse"] == [
        "open", "admit", "reserve", "spend", "agree"
    ]  # fmt: skip


def test_a_job_of_another_mode_is_never_answered_in_sums(shop: Any) -> None:
    shop.allow(modes=("local", "distributed"))
    session = Session({ME: shop})
    bodies = [
        None, KeyList(offers=()), ShareList(shares=()), some([ME]), AgreementList(agreements=())
    ]  # fmt: skip
    for stage, body in zip(STAGES, bodies, strict=True):
        assert session.say(ME, stage, body).code == Code.SUM_STAGE
    assert set(shop.kinds()) == {"open", "refuse"}


def test_a_call_is_no_task_and_a_task_is_no_call(session: Session) -> None:
    call = session.call("keys")
    assert code_of(session, call.to_records(), STEP) == Code.PROTOCOL_INVALID
    assert code_of(session, session.task.to_records()) == Code.PROTOCOL_INVALID
    assert session.shops[ME].kinds() == ["open", "refuse", "refuse"]


# Two lists of survivors


LISTS = {"one less": NAMES[:4], "all": NAMES, "another one less": [ME, *NAMES[2:]]}


@pytest.mark.parametrize("first", LISTS)
@pytest.mark.parametrize("second", LISTS)
def test_a_client_agrees_to_one_list_for_a_session(
    session: Session, first: str, second: str
) -> None:
    session.go("keys", "shares", "masked")
    reply = session.say(ME, "survivors", some(LISTS[first]))
    assert reply.code == OK
    again = session.say(ME, "survivors", some(LISTS[second]))
    if first == second:
        assert again == reply
    else:
        assert again == SumReply(str(Code.SUM_SURVIVORS))
    (row,) = session.shops[ME].rows("agree")
    assert row.body["survivors"] == LISTS[first]


@pytest.mark.parametrize("lost", ["gone", "from before the words", "from before the list"])
def test_no_state_that_is_lost_or_put_back_lets_a_client_agree_twice(
    session: Session, lost: str
) -> None:
    """The ledger alone remembers; who has an old copy of the states is held to it."""
    session.go("keys", "shares")
    early = backup(session)
    session.go("masked")
    late = backup(session)
    session.go("survivors")
    sums = session.shops[ME].folder / "sums.sqlite"
    if lost == "gone":
        sums.unlink()
    else:
        sums.write_bytes(early if lost == "from before the words" else late)
    if lost == "from before the words":  # the same request is in the ledger, another is refused
        body = session.shares_for(ME)
        fewer = ShareList(shares=body.shares[:3])
        assert session.say(ME, "masked", fewer).code == Code.REPLAY_CONFLICT
        again = session.say(ME, "masked", body)
        assert again.words is not None
        assert (again.words == session.words[ME]).all()
    other = session.say(ME, "survivors", some(NAMES[:4]))
    assert other == SumReply(str(Code.SUM_SESSION if lost == "gone" else Code.SUM_SURVIVORS))
    same = session.say(ME, "survivors", session.survivors)
    if lost == "gone":
        assert same.code == Code.SUM_SESSION
        assert session.say(ME, "keys").code == Code.SUM_SESSION  # its words have left
    else:
        assert same.body == session.agreements[ME]
    rows = session.shops[ME].rows()
    assert [row.kind for row in rows if row.kind != "refuse"] == [
        "open", "admit", "reserve", "spend", "agree"
    ]  # fmt: skip


def backup(session: Session) -> bytes:
    data: bytes = (session.shops[ME].folder / "sums.sqlite").read_bytes()
    return data


def test_a_client_agrees_only_if_its_own_words_left(session: Session) -> None:
    session.go("keys", "shares")
    session.go("masked", names=NAMES[1:])
    lists = [some(NAMES), some(NAMES[1:])]
    assert {session.say(ME, "survivors", one).code for one in lists} == {Code.SUM_STAGE}
    assert session.shops[ME].kinds() == ["open", "refuse", "refuse"]


def test_words_that_were_charged_and_never_made_are_agreed_to_by_nobody(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its masks would be taken off a total without its words, noise and all."""
    session.go("keys", "shares")
    session.go("masked", names=NAMES[1:])
    body = session.shares_for(ME)
    with monkeypatch.context() as patch:
        patch.setattr("common.privacy.shared_noise.SharedSum.words", lambda *_: 1 / 0)
        assert session.say(ME, "masked", body).code == Code.INTERNAL
    assert session.say(ME, "survivors", some(NAMES)).code == Code.SUM_STAGE
    assert session.shops[ME].rows("agree") == []
    session.go("masked", names=[ME])  # under a reservation of its own
    assert len(session.shops[ME].rows("reserve")) == 2
    session.go("survivors", "reveal")


BAD_LISTS = {
    "without this client": NAMES[1:],
    "below the threshold": NAMES[:3],
    "empty": [],
    "twice the same": [ME, ME, "shop-2", "shop-3"],
    "a stranger": [*NAMES[:4], "shop-9"],
    "out of order": [*NAMES[1:], ME],
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_list_that_is_not_safe_is_not_agreed_to_and_leaves_no_row(
    session: Session, name: str
) -> None:
    session.go("keys", "shares", "masked")
    reply = session.say(ME, "survivors", SurvivorList(survivors=tuple(BAD_LISTS[name])))
    assert reply.code in {Code.SUM_SURVIVORS, Code.SUM_THRESHOLD}
    assert session.shops[ME].rows("agree") == []
    session.go("survivors", "reveal")  # and the right one still is


# Both kinds of shares


def test_shares_are_given_for_the_list_that_was_agreed_to_alone(session: Session) -> None:
    session.go("keys", "shares", "masked", "survivors")
    roster = {name: key_of_roster(session, name) for name in NAMES}
    context = session.context
    other = AgreementList(
        agreements=tuple(signed_agreement(roster[n], context, n, NAMES[:4]) for n in NAMES[:4])
    )
    assert session.say(ME, "reveal", other).code == Code.SUM_SURVIVORS
    mixed = AgreementList(agreements=(*session.signed.agreements[:3], other.agreements[3]))
    assert session.say(ME, "reveal", mixed).code == Code.SUM_SURVIVORS
    few = AgreementList(agreements=session.signed.agreements[:3])
    assert session.say(ME, "reveal", few).code == Code.SUM_THRESHOLD
    twice = AgreementList(agreements=(session.signed.agreements[0],) * 4)
    assert session.say(ME, "reveal", twice).code in {Code.SUM_SURVIVORS, Code.SUM_THRESHOLD}
    session.go("reveal")
    reveal = session.reveals[ME]
    assert set(reveal.seeds) == set(NAMES)
    assert not reveal.keys
    for late in (other, mixed):  # a stage is answered once
        assert session.say(ME, "reveal", late).code == Code.SUM_STAGE


def key_of_roster(session: Session, name: str) -> SigningKey:
    return SigningKey.load(session.shops[name].folder / "roster_key.pem")


def test_nobody_gives_both_kinds_of_shares_of_one_peer(session: Session) -> None:
    """Whatever was tried, over restarts: a seed or a key of each peer, of every client."""
    session.go("keys", "shares", "masked")
    first, second = some(NAMES), some(NAMES[:4])
    agreed = {}
    for name in NAMES:
        for tried in (second, first) if name in NAMES[:4] else (first,):
            reply = session.say(name, "survivors", tried)
            if reply.code == OK:
                agreed[name] = tried
                session.take(name, "survivors", reply)
    assert agreed == {**dict.fromkeys(NAMES[:4], second), "shop-5": first}
    lists = [session.signed, AgreementList(agreements=session.signed.agreements[:4])]
    given = [session.say(name, "reveal", one) for name in NAMES for one in lists]
    for reply in given:
        if reply.body is not None:
            assert not set(reply.body.seeds) & set(reply.body.keys)
            assert set(reply.body.keys) == {"shop-5"}
    assert sum(reply.code == OK for reply in given) == 4


def ask_in_child(arguments: tuple[str, str, SumCall]) -> str:
    """Asked in a process of its own, as in a deployment."""
    run, name, call = arguments
    shop = shop_of(Path(run), NAMES.index(name))
    return SumReply.from_records(shop.send(call.to_records(), SUM).content, call.stage).code


def test_of_two_processes_with_two_lists_one_is_answered(session: Session) -> None:
    run = str(session.shops[ME].folder.parent.parent)
    session.go("keys", "shares", "masked")
    lists = [LISTS[name] for name in LISTS]
    calls = [(run, ME, session.call("survivors", some(one))) for one in lists * 2]
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        codes = list(pool.map(ask_in_child, calls))
    answered = {number % 3 for number, code in enumerate(codes) if code == OK}
    assert len(answered) == 1
    assert set(codes) == {OK, str(Code.SUM_SURVIVORS)}
    (row,) = session.shops[ME].rows("agree")
    assert row.body["survivors"] == lists[answered.pop()]


@pytest.mark.parametrize("stage", ["keys", "shares", "masked"])
def test_of_many_threads_with_two_requests_one_kind_is_answered(
    session: Session, stage: str
) -> None:
    session.go(*STAGES[: STAGES.index(stage)])
    calls = [session.call(stage, session.body(ME, stage)) for _ in range(4)]  # type: ignore[arg-type]
    calls += [other_call(session, stage)] * 4
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda call: session.ask(ME, call), calls))
    codes = [{reply.code for reply in replies[:4]}, {reply.code for reply in replies[4:]}]
    assert {OK} in codes
    assert codes.index({OK}) == 1 - codes.index({str(Code.SUM_STAGE)})
    said = [reply for reply in replies if reply.code == OK]
    assert len({repr(reply) for reply in said}) == 1
    kinds = [kind for kind in session.shops[ME].kinds() if kind != "refuse"]
    assert kinds == (["open", "admit", "reserve", "spend"] if stage == "masked" else ["open"])


def other_call(session: Session, stage: str) -> SumCall:
    """Another request for the same stage, which alone would be answered."""
    if stage == "keys":
        return session.call("keys", context="ab" * 32)
    if stage == "shares":
        return session.call("shares", KeyList(offers=session.peers.offers[:4]))
    return session.call("masked", ShareList(shares=session.shares_for(ME).shares[:3]))


# A stage again, with other content


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_answered_for_one_request(session: Session, stage: str) -> None:
    session.go(*STAGES)
    before = session.shops[ME].rows()
    others = {
        "keys": session.call("keys", context="ab" * 32),
        "shares": session.call("shares", KeyList(offers=session.peers.offers[:4])),
        "masked": session.call("masked", ShareList(shares=session.shares_for(ME).shares[:3])),
        "survivors": session.call("survivors", some(NAMES[:4])),
        "reveal": session.call("reveal", AgreementList(agreements=session.signed.agreements[:4])),
    }
    reply = session.ask(ME, others[stage])
    assert reply.code in {Code.SUM_STAGE, Code.SUM_SURVIVORS}
    after = session.shops[ME].rows()
    assert [row.kind for row in after[len(before) :]] == ["refuse"]


@pytest.mark.parametrize("stage", STAGES[1:])
def test_no_stage_is_answered_before_the_one_before_it(session: Session, stage: str) -> None:
    session.go(*STAGES[: STAGES.index(stage) - 1])
    rest = [name for name in NAMES if name != ME]
    session.go(STAGES[STAGES.index(stage) - 1], names=rest)
    assert session.say(ME, stage, session.body(NAMES[1], stage)).code == Code.SUM_STAGE
    assert session.shops[ME].rows("agree") == []


# Masks that the server knows


def forged(session: Session, how: str) -> KeyList:
    """The peers' keys, with one that the server has made itself."""
    sharing, masking, own = PairKey.create(), PairKey.create(), SigningKey.create()
    context, peer = session.context, "shop-2"
    fake = signed_offer(own, context, peer, sharing.public, masking.public)
    offers = {offer.name: offer for offer in session.peers.offers}
    real = offers[peer]
    if how == "signed by another":
        offers[peer] = fake
    elif how == "one key swapped":
        offers[peer] = real.model_copy(update={"masking_key": masking.public})
    elif how == "two clients with one key":
        offers[peer] = real.model_copy(update={"name": peer, **keys_of(offers["shop-3"])})
    elif how == "a client of the server's own":
        stranger = signed_offer(own, context, "shop-9", sharing.public, masking.public)
        offers["shop-9"] = stranger
    elif how == "this client's own keys swapped":
        offers[ME] = signed_offer(own, context, ME, sharing.public, masking.public)
    elif how == "of another session":
        other = Session(session.shops, number=7)
        other.go("keys")
        offers[peer] = other.offers[peer]
    elif how == "without this client":
        del offers[ME]
    elif how == "too few":
        offers = {name: offers[name] for name in NAMES[:3]}
    return KeyList(offers=tuple(offers[name] for name in sorted(offers)))


def keys_of(offer: KeyOffer) -> dict[str, str]:
    return {"sharing_key": offer.sharing_key, "masking_key": offer.masking_key}


@pytest.mark.parametrize(
    "how",
    [
        "signed by another", "one key swapped", "two clients with one key",
        "a client of the server's own", "this client's own keys swapped",
        "without this client", "too few",
    ],
)  # fmt: skip
def test_keys_that_are_not_the_peers_own_are_refused(session: Session, how: str) -> None:
    session.go("keys")
    reply = session.say(ME, "shares", forged(session, how))
    assert reply.code in {Code.SUM_PEERS, Code.SUM_THRESHOLD}
    session.go(*STAGES[1:])  # with the right ones it goes on


def test_keys_of_another_session_are_refused(session: Session) -> None:
    session.go("keys")
    stale = session.offers["shop-2"]
    second = Session(session.shops, number=1)
    second.go("keys")
    offers = {**second.offers, "shop-2": stale}
    reply = second.say(ME, "shares", KeyList(offers=tuple(offers[name] for name in NAMES)))
    assert reply.code == Code.SUM_PEERS


BAD_SHARES: dict[str, Callable[[ShareList], ShareList]] = {
    "one changed": lambda given: with_share(given, sealed=flipped(given.shares[0].sealed)),
    "one cut": lambda given: with_share(given, sealed=given.shares[0].sealed[:-2]),
    "one empty": lambda given: with_share(given, sealed=""),
    "one for another": lambda given: with_share(given, recipient="shop-3"),
    "one from another": lambda given: with_share(given, sender="shop-3"),
    "one twice": lambda given: ShareList(shares=(*given.shares, given.shares[0])),
    "from a stranger": lambda given: with_share(given, sender="shop-9"),
    "too few": lambda given: ShareList(shares=given.shares[:2]),
}


def with_share(given: ShareList, **changes: Any) -> ShareList:
    first, *rest = given.shares
    return ShareList(shares=(first.model_copy(update=changes), *rest))


def flipped(sealed: str) -> str:
    return sealed[:-1] + ("0" if sealed[-1] != "0" else "1")


@pytest.mark.parametrize("name", BAD_SHARES)
def test_bad_shares_cost_nothing_and_the_right_ones_still_work(session: Session, name: str) -> None:
    session.go("keys", "shares")
    reply = session.say(ME, "masked", BAD_SHARES[name](session.shares_for(ME)))
    assert reply.code in {Code.SUM_SHARE, Code.SUM_PEERS, Code.SUM_THRESHOLD}
    assert session.shops[ME].kinds() == ["open", "refuse"]
    session.go(*STAGES[2:])


# Another job, other inputs, other terms


@pytest.mark.parametrize("stage", STAGES[1:])
@pytest.mark.parametrize(
    "changes",
    [{"threshold": 5}, {"colluders": 2}, {"seed": 8}, {"epsilon": 2.0}, {"evaluation_share": 0.1}],
    ids=str,
)
def test_a_job_does_not_change_between_stages(
    session: Session, stage: str, changes: dict[str, Any]
) -> None:
    """The context is a hash that no client can look into before the inputs have come."""
    session.go(*STAGES[: STAGES.index(stage)])
    job = session.first.job.model_copy(update=changes)
    reply = session.say(ME, stage, session.body(ME, stage), job=job)
    assert reply.code == Code.REPLAY_CONFLICT
    assert not [kind for kind in session.shops[ME].kinds()[5:] if kind != "refuse"]
    session.go(*STAGES[STAGES.index(stage) :])


def test_words_on_another_grid_than_the_clients_own_are_not_made(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of another version may derive another grid from the same job."""
    own = schedule_of(session.first.job).plan.releases[0]
    coarser = own.model_copy(update={"noise_multiplier": 2 * own.noise_multiplier})
    context = context_of(session.task, coarser)
    monkeypatch.setattr(Session, "context", context)
    session.go("keys", "shares")
    assert session.say(ME, "masked", session.shares_for(ME)).code == Code.SUM_STAGE
    assert session.shops[ME].rows("reserve") == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("threshold", [2, 3])
def test_a_lowered_threshold_is_refused_in_every_stage(
    session: Session, stage: str, threshold: int
) -> None:
    session.go(*STAGES[: STAGES.index(stage)])
    job = session.first.job.model_copy(update={"threshold": threshold})
    reply = session.say(ME, stage, session.body(ME, stage), job=job)
    assert reply.code == Code.POLICY_THRESHOLD


def test_a_session_that_was_begun_under_a_lower_threshold_is_not_summed_under_another(
    session: Session,
) -> None:
    """Dealing under t and revealing under t - 1 would need fewer colluders."""
    low = session.first.job.model_copy(update={"threshold": 4})
    high = session.first.job.model_copy(update={"threshold": 5})
    for shop in session.shops.values():
        assert shop.job == low
    session.go("keys")
    assert session.say(ME, "shares", session.peers, job=high).code == Code.REPLAY_CONFLICT
    assert session.say(ME, "keys", job=high).code == Code.REPLAY_CONFLICT


def test_other_inputs_than_the_sum_was_begun_for_are_refused_before_anything_is_charged(
    session: Session,
) -> None:
    session.step = 1
    session.go("keys", "shares")
    inputs = {name: array.copy() for name, array in session.task.inputs.items()}
    for array in inputs.values():
        array[..., 0] *= -1 if array.ndim > 1 else 1
        array += 0 if array.ndim > 1 else 1
    body = session.shares_for(ME)
    assert session.say(ME, "masked", body, inputs=inputs).code == Code.SUM_STAGE
    assert session.say(ME, "masked", body, inputs={}).code == Code.SUM_STAGE
    assert set(session.shops[ME].kinds()) == {"open", "refuse"}
    session.go("masked")


@pytest.mark.parametrize("bad", ["not finite", "of another shape", "missing", "more"])
def test_inputs_are_checked_before_anything_is_charged(session: Session, bad: str) -> None:
    session.step = 1
    inputs = {name: array.copy() for name, array in session.task.inputs.items()}
    name = next(iter(inputs))
    if bad == "not finite":
        inputs[name].flat[0] = np.inf
    elif bad == "of another shape":
        inputs[name] = inputs[name][:-1]
    elif bad == "missing":
        del inputs[name]
    else:
        inputs["more"] = inputs[name]
    session.inputs = inputs
    session.go("keys", "shares")
    assert session.say(ME, "masked", session.shares_for(ME)).code == Code.INBOUND_ARRAY
    assert session.shops[ME].kinds() == ["open", "refuse"]


# Sessions


def test_a_session_that_is_not_the_newest_is_answered_nothing(session: Session) -> None:
    session.number = 3
    session.go("keys", "shares", "masked")
    before = {stage: session.body(ME, stage) for stage in STAGES[:3]}
    Session(session.shops, number=5).go("keys")
    for stage, body in before.items():
        assert session.say(ME, stage, body).code == Code.SUM_SESSION
    assert session.say(ME, "survivors", session.survivors).code == Code.SUM_SESSION
    for number in (0, 3, 4):
        assert Session(session.shops, number=number).say(ME, "keys").code == Code.SUM_SESSION
    later = Session(session.shops, number=9)
    assert later.say(ME, "shares", session.peers).code == Code.SUM_STAGE
    later.go(*STAGES)


def test_states_put_back_do_not_revive_a_session_of_which_a_newer_one_released(
    session: Session,
) -> None:
    session.go("keys", "shares", "masked")
    old = backup(session)
    second = Session(session.shops, number=1)
    second.go("keys", "shares", "masked")
    (session.shops[ME].folder / "sums.sqlite").write_bytes(old)
    assert session.say(ME, "survivors", session.survivors).code == Code.SUM_SESSION
    assert second.say(ME, "keys").code == Code.SUM_SESSION
    assert session.shops[ME].rows("agree") == []
    Session(session.shops, number=2).go("keys", "shares", "masked")


def test_a_closed_job_is_not_summed(session: Session) -> None:
    session.go("keys", "shares", "masked")
    with session.shops[ME].ledger() as ledger:
        close_job(ledger, session.first.job.job_id)
    assert session.say(ME, "survivors", session.survivors).code == Code.JOB_CLOSED
    assert Session(session.shops, number=1).say(ME, "keys").code == Code.JOB_CLOSED
    assert session.shops[ME].rows("agree") == []


def test_a_ledger_that_was_rolled_back_takes_no_part(session: Session) -> None:
    session.go("keys", "shares", "masked")
    with session.shops[ME].ledger() as ledger:
        ledger.append("halt", {"seq": 99, "hash": "0" * 64, "server": "f" * 64})
    for stage, body in (("survivors", session.survivors), ("keys", None)):
        assert session.say(ME, stage, body).code == Code.LEDGER_ROLLED_BACK  # type: ignore[arg-type]


# Strangers


def test_a_call_that_the_server_did_not_sign_changes_nothing(session: Session) -> None:
    session.go("keys", "shares", "masked")
    for stage in STAGES:
        body = session.body(ME, stage) if stage != "reveal" else AgreementList(agreements=())
        call = replace(session.call(stage, body), signature="")
        assert session.ask(ME, call).code == Code.POLICY_SERVER
        stranger = SigningKey.create()
        job = session.first.job.model_copy(update={"server": stranger.public})
        theirs = replace(call, job=job).signed(stranger)
        assert session.ask(ME, theirs).code == Code.POLICY_SERVER
    session.go("survivors", "reveal")


def test_a_flood_of_strangers_has_so_many_rows_and_no_more(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.guard.refusals.MOST_OF_STRANGERS", 3)
    call = replace(session.call("keys"), signature="")
    for _ in range(6):
        session.ask(ME, call)
        code_of(session, RecordDict())
    assert len(session.shops[ME].rows("refuse")) == 3 + 3


def test_a_message_that_is_too_large_is_not_parsed(session: Session) -> None:
    session.shops[ME].allow(max_message_bytes=500)
    assert session.say(ME, "keys").code == Code.POLICY_MESSAGE


def test_a_copy_of_a_client_cannot_speak_for_it_in_the_same_session(
    session: Session, summing_run: Any, open_shop: Callable[..., Any], tmp_path: Path
) -> None:
    """Two states of one client: peers take one offer, the other one's shares are for nobody."""
    copy = Path(shutil.copytree(summing_run.path, tmp_path / "copy"))
    clones = shops_of(type(summing_run)(copy), open_shop)
    session.go("keys")
    twin = Session({**session.shops, ME: clones[ME]})
    reply = twin.say(ME, "keys")
    assert reply.body != session.offers[ME]
    assert twin.say(ME, "shares", session.peers).code == Code.SUM_PEERS
