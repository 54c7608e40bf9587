"""Too few clients: whether that may pass by itself, also after it crossed a process's border."""

from __future__ import annotations

import pickle

import pytest

from common.errors import Code
from server.quorum import NO_ANSWER, TAKES_A_PERSON, QuorumError


@pytest.mark.parametrize(
    ("missing", "refused", "passes"),
    [
        (1, {}, False),
        (1, {"a": NO_ANSWER, "b": "policy-bundle"}, True),
        (2, {"a": NO_ANSWER, "b": "policy-bundle"}, False),
        (1, {"b": "budget-lifetime"}, False),
        (2, {"a": "client-unready", "b": "flower-error"}, True),
    ],
)
def test_too_few_may_pass_where_enough_are_silent(
    missing: int, refused: dict[str, str], passes: bool
) -> None:
    error = QuorumError("too few.", missing=missing, refused=refused)
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert one.passes is passes
    assert str(again) == str(error)


def test_what_clients_were_charged_for_in_vain_is_not_tried_again_by_itself() -> None:
    assert not QuorumError("no total.", charged=True).passes
    assert not pickle.loads(pickle.dumps(QuorumError("no total.", charged=True))).passes
    assert QuorumError("no total.", missing=2, refused={"a": "policy-mode"}, silent=2).passes


def test_who_was_asked_as_often_as_a_program_may_is_not_hoped_for() -> None:
    refused = {"a": NO_ANSWER, "b": NO_ANSWER}
    hoped = QuorumError("too few.", refused=refused, held=["a"])
    in_vain = QuorumError("too few.", refused=refused, held=["a", "b"])
    assert hoped.passes
    assert not in_vain.passes
    assert not pickle.loads(pickle.dumps(in_vain)).passes


def test_what_may_have_charged_a_client_is_what_it_answers_within_a_release() -> None:
    assert {Code.INTERNAL, Code.DISK_FULL, Code.LEDGER_WRITE} == TAKES_A_PERSON
