"""What roster keys sign: one list or one pair of keys, in one session, for one purpose."""

import pytest

from common.errors import Code
from common.privacy.roster import Roster
from common.privacy.signing import SigningKey
from common.secure_sum.keys import PairKey
from common.secure_sum.statements import (
    check_agreements,
    check_offers,
    list_digest,
    signed_agreement,
    signed_offer,
)

CONTEXT = "ab" * 32


@pytest.fixture
def keys():
    return {name: SigningKey.create() for name in "abc"}


@pytest.fixture
def roster(keys):
    return Roster.of({name: key.public for name, key in keys.items()})


@pytest.fixture
def offers(keys):
    return [
        signed_offer(key, CONTEXT, name, PairKey.create().public, PairKey.create().public)
        for name, key in keys.items()
    ]


def test_offers_and_agreements_as_they_should_be(keys, roster, offers):
    check_offers(offers, roster, CONTEXT)
    check_offers(offers[1:], roster, CONTEXT)
    agreements = [signed_agreement(keys[name], CONTEXT, name, "abc") for name in "ac"]
    check_agreements(agreements, roster, CONTEXT, "abc")
    check_agreements([], roster, CONTEXT, "abc")


def test_keys_are_not_taken_for_a_list_nor_for_another_session(keys, roster, offers, code):
    assert code(lambda: check_offers(offers, roster, "cd" * 32)) is Code.SUM_PEERS
    taken = signed_agreement(keys["a"], CONTEXT, "a", "abc")
    forged = offers[0].model_copy(update={"signature": taken.signature})
    assert code(lambda: check_offers([forged], roster, CONTEXT)) is Code.SUM_PEERS
    forged = taken.model_copy(update={"signature": offers[0].signature})
    refused = code(lambda: check_agreements([forged], roster, CONTEXT, "abc"))
    assert refused is Code.SUM_SURVIVORS


def test_a_list_has_one_digest():
    lists = [(), ("a",), ("a", "b"), ("b", "a"), ("ab",), ("a", "b", "c")]
    assert len({list_digest(names) for names in lists}) == len(lists)


def test_signatures_are_the_same_bytes_again(keys):
    first = signed_agreement(keys["a"], CONTEXT, "a", ("a", "b"))
    assert signed_agreement(keys["a"], CONTEXT, "a", ["a", "b"]) == first
