"""One session at the server: whoever says what it should not is dropped, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.errors import RunError
from common.protocol import SumCall, SumReply
from common.secure_sum.messages import STAGES, Stage
from tests.server.parties import Federation, change, check_total, total_of
from tests.server.real_sums import COUNTED

Make = Callable[..., Federation]


def as_another(reply: SumReply) -> SumReply:
    assert reply.body is not None
    return replace(reply, body=reply.body.model_copy(update={"name": "shop-1"}))


def body(**fields: Any) -> Callable[[SumReply], SumReply]:
    def make(reply: SumReply) -> SumReply:
        assert reply.body is not None
        return replace(reply, body=reply.body.model_copy(update=fields))

    return make


def words(make: Callable[[Any], Any]) -> Callable[[SumReply], SumReply]:
    return lambda reply: replace(reply, words=make(reply.words))


def from_body(make: Callable[[Any], dict[str, Any]]) -> Callable[[SumReply], SumReply]:
    return lambda reply: body(**make(reply.body))(reply)


def without_first(values: dict[str, str]) -> dict[str, str]:
    return dict(list(values.items())[1:])


NONSENSE: dict[str, tuple[Stage, Callable[[SumReply], SumReply], str]] = {
    "another's offer": ("keys", as_another, "sum-peers"),
    "a key of low order": ("keys", body(masking_key="0" * 64), "sum-peers"),
    "one key twice": ("keys", from_body(lambda b: {"masking_key": b.sharing_key}), "sum-peers"),
    "no offer": ("keys", lambda r: replace(r, body=None), "protocol-invalid"),
    "another's deal": ("shares", as_another, "sum-peers"),
    "a deal to nobody": ("shares", body(shares=()), "sum-share"),
    "a deal short of one": ("shares", from_body(lambda b: {"shares": b.shares[1:]}), "sum-share"),
    "a deal in disorder": (
        "shares", from_body(lambda b: {"shares": b.shares[::-1]}), "sum-share"
    ),
    "a deal to one twice": (
        "shares", from_body(lambda b: {"shares": (b.shares[0], *b.shares[:-1])}), "sum-share"
    ),
    "a deal by another": (
        "shares",
        from_body(lambda b: {"shares": tuple(
            s.model_copy(update={"sender": "shop-1"}) for s in b.shares)}),
        "sum-share",
    ),
    "no words": ("masked", lambda r: replace(r, words=None), "protocol-invalid"),
    "fewer words": ("masked", words(lambda w: w[:-1].copy()), "inbound-array"),
    "one word for all": ("masked", words(lambda w: w[:1].copy()), "inbound-array"),
    "floats": ("masked", words(lambda w: w.astype(np.float32)), "protocol-invalid"),
    "signed words": ("masked", words(lambda w: w.astype(np.int64)), "protocol-invalid"),
    "words of another size": ("masked", words(lambda w: w.astype(
        np.uint64 if w.dtype == np.uint32 else np.uint32)), "inbound-array"),
    "another's agreement": ("survivors", as_another, "sum-peers"),
    "another's reveal": ("reveal", as_another, "sum-peers"),
    "a seed short": ("reveal", from_body(lambda b: {"seeds": without_first(b.seeds)}), "sum-share"),
    "a key nobody asked for": (
        "reveal", from_body(lambda b: {"keys": {"shop-1": b.seeds["shop-1"]}}), "sum-share"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NONSENSE)
def test_who_says_nonsense_is_dropped_and_the_others_go_on(federation: Make, name: str) -> None:
    stage, make, code = NONSENSE[name]
    made = federation()
    made.grid.tampering = change(stage, ["shop-3"], make)
    summed = total_of(made, attempts=1)
    left = [n for n in made.names if n != "shop-3"]
    check_total(made, summed, made.names if COUNTED[stage] else left)
    (record,) = summed.sessions
    assert {n: (d.stage, d.code) for n, d in record.dropped.items()} == {"shop-3": (stage, code)}


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_of_flowers_is_a_drop_out(federation: Make, stage: Stage) -> None:
    from flwr.app import Error, Message

    made = federation()

    def fail(call: SumCall, answer: Message) -> Message:
        if call.stage == stage and answer.metadata.src_node_id == 4:
            answer.__dict__["_error"] = Error(1, "quotes a row")
            answer.__dict__["_content"] = None
        return answer

    made.grid.raw = fail
    (record,) = total_of(made).sessions
    assert {n: (d.stage, d.code) for n, d in record.dropped.items()} == {
        "shop-3": (stage, "flower-error")
    }


SIGNED: dict[Stage, str] = {"keys": "sum-peers", "survivors": "sum-survivors"}


@pytest.mark.parametrize("stage", SIGNED)
def test_who_signs_wrongly_is_dropped_and_stops_nobody(federation: Make, stage: Stage) -> None:
    made = federation()
    made.grid.tampering = change(stage, ["shop-3"], body(signature="0" * 128))
    summed = total_of(made, attempts=1)
    left = [name for name in made.names if name != "shop-3"]
    check_total(made, summed, made.names if COUNTED[stage] else left)
    assert summed.sessions[-1].dropped["shop-3"].code == SIGNED[stage]


def wrong_share(reply: SumReply) -> SumReply:
    assert reply.body is not None
    seeds = {name: f"{int(share, 16) ^ 1:066x}" for name, share in reply.body.seeds.items()}  # type: ignore[union-attr]
    return body(seeds=seeds)(reply)


@pytest.mark.parametrize("wrong", ["shop-1", "shop-3", "shop-5"])
def test_one_who_reveals_wrong_shares_is_found_where_there_is_one_to_spare(
    federation: Make, wrong: str
) -> None:
    """The first four are enough: also the fifth is held to them."""
    made = federation(5, 4)
    made.grid.tampering = change("reveal", [wrong], wrong_share)
    summed = total_of(made, attempts=1)
    check_total(made, summed, made.names)
    dropped = {n: (d.stage, d.code) for n, d in summed.sessions[0].dropped.items()}
    assert dropped == {wrong: ("reveal", "sum-share")}


@pytest.mark.parametrize("wrong", ["shop-1", "shop-5"])
def test_who_may_have_dealt_a_wrong_share_is_named_with_who_revealed_it(
    federation: Make, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A dealer can give one client a share that does not fit: that client did nothing."""
    made = federation(5, 4)

    def as_dealt(said: Any) -> dict[str, Any]:
        return {"seeds": {**said.seeds, "shop-2": f"{int(said.seeds['shop-2'], 16) ^ 1:066x}"}}

    made.grid.tampering = change("reveal", [wrong], from_body(as_dealt))
    check_total(made, total_of(made, attempts=1), made.names)
    assert f"{wrong} reveals shares that do not fit, unless they were dealt so by shop-2" in (
        caplog.text
    )


def test_who_cannot_open_its_shares_is_asked_for_its_log(
    federation: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """One client seals nonsense for another, which is the one that is lost."""
    made = federation(5, 4)

    def nonsense(said: Any) -> dict[str, Any]:
        first = said.shares[0].model_copy(update={"sealed": "00" * 94})
        return {"shares": (first, *said.shares[1:])}

    made.grid.tampering = change("shares", ["shop-5"], from_body(nonsense))
    summed = total_of(made, attempts=1)
    check_total(made, summed, made.names[1:])
    assert summed.refused == {"shop-1": "sum-share"}
    assert "shop-1 could not open what a peer dealt to it: its own log names" in caplog.text


@pytest.mark.parametrize(("threshold", "wrong"), [(5, ["shop-2"]), (4, ["shop-2", "shop-3"])])
def test_wrong_shares_with_nobody_to_spare_end_the_session_and_name_the_secret(
    federation: Make, threshold: int, wrong: list[str]
) -> None:
    made = federation(5, threshold)
    made.grid.tampering = change("reveal", wrong, wrong_share)
    with pytest.raises(RunError, match="sum-share: the shares of a secret of shop-1") as caught:
        total_of(made, attempts=1)
    assert "Lost: nobody" in caught.value.message
    made.grid.tampering = lambda _, __, reply: reply
    check_total(made, total_of(made), made.names)


def test_a_seed_that_was_announced_otherwise_ends_the_session(federation: Make) -> None:
    made = federation(6, 4)
    made.grid.tampering = change("shares", ["shop-4"], body(seed_digest="0" * 64))
    with pytest.raises(RunError, match="a secret of shop-4"):
        total_of(made, attempts=1)
