import hmac
import itertools

import pytest

from common.errors import Code, SumError
from common.secure_sum.keys import (
    PairKey,
    derive,
    fresh_seed,
    is_sound,
    open_sealed,
    seal,
)

CONTEXT = "c" * 64
LOW_ORDER = {
    "zero": "00" * 32,
    "one": "01" + "00" * 31,
    "order 8": "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "order 8 too": "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "p - 1": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "p": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "p + 1": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}


def test_both_sides_agree():
    ours, theirs = PairKey.create(), PairKey.create()
    first = ours.agree(theirs.public, "mask", CONTEXT, ("a", "b"))
    assert first == theirs.agree(ours.public, "mask", CONTEXT, ("a", "b"))
    assert len(first) == 32


def test_an_agreement_is_that_of_the_standards():
    """RFC 7748, section 5.2, first vector; and RFC 5869 over it."""
    scalar = "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"
    point = "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"
    shared = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    info = f"hushrec sum mask v1 {CONTEXT} a b".encode()
    extracted = hmac.digest(bytes(32), bytes.fromhex(shared), "sha256")
    expected = hmac.digest(extracted, info + b"\x01", "sha256")
    key = PairKey.of(bytes.fromhex(scalar))
    assert key.agree(point, "mask", CONTEXT, ("a", "b")) == expected


def test_purpose_context_names_and_their_order_all_matter():
    ours, theirs = PairKey.create(), PairKey.create()
    uses = itertools.product(
        ("mask", "seal"), (CONTEXT, "d" * 64), (("a", "b"), ("b", "a"), ("a", "c"))
    )
    made = {ours.agree(theirs.public, *use) for use in uses}
    assert len(made) == 12
    assert derive(bytes(32), "own", CONTEXT, ("a",)) not in made


@pytest.mark.parametrize("point", LOW_ORDER.values(), ids=LOW_ORDER.keys())
def test_points_of_low_order_are_refused(point):
    with pytest.raises(SumError, match="low order") as caught:
        PairKey.create().agree(point, "mask", CONTEXT, ("a", "b"))
    assert caught.value.code is Code.SUM_PEERS


@pytest.mark.parametrize("point", [*LOW_ORDER.values(), "ff" * 32], ids=[*LOW_ORDER, "largest"])
def test_points_that_no_client_makes_are_known(point):
    assert not is_sound(point)


def test_keys_are_sound():
    assert all(is_sound(PairKey.create().public) for _ in range(20))


def test_a_key_comes_back_from_its_private_half():
    key = PairKey.create()
    assert PairKey.of(key.private).public == key.public
    assert key.private.hex() not in repr(key)
    assert key.public in repr(key)


def test_seeds_are_new():
    assert len({fresh_seed() for _ in range(100)}) == 100


def test_what_is_sealed_opens_for_the_same_key_and_matter_alone():
    key = bytes(range(32))
    sealed = seal(key, b"text", "about")
    assert open_sealed(key, sealed, "about") == b"text"
    assert open_sealed(key, sealed, "another") is None
    assert open_sealed(bytes(32), sealed, "about") is None
    assert seal(key, b"text", "about") != sealed


def test_no_flipped_bit_goes_unseen():
    key = bytes(range(32))
    raw = bytes.fromhex(seal(key, b"text", "about"))
    for position, bit in itertools.product(range(len(raw)), range(8)):
        changed = bytearray(raw)
        changed[position] ^= 1 << bit
        assert open_sealed(key, changed.hex(), "about") is None


@pytest.mark.parametrize("sealed", ["", "00", "00" * 27, "0", "zz"])
def test_what_was_never_sealed_does_not_open(sealed):
    assert open_sealed(bytes(32), sealed, "about") is None
