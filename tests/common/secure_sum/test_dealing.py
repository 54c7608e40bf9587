import pytest

from common.errors import Code
from common.secure_sum.dealing import open_shares, own_mask_key, pair_mask_key, seal_shares
from common.secure_sum.keys import PairKey
from common.secure_sum.messages import KeyOffer

CONTEXT = "ab" * 32
PAIR = ("01" * 33, "02" * 33)


@pytest.fixture
def pairs():
    return {name: PairKey.create() for name in "abc"}


def offer(name, key):
    return KeyOffer(name=name, sharing_key=key.public, masking_key=key.public, signature="0" * 128)


def dealt(pairs, pair=PAIR):
    peers = [(offer(name, key), pair) for name, key in pairs.items()]
    return list(seal_shares(pairs["a"], CONTEXT, "a", peers))


def opening_keys(pairs, name):
    """By which `name` opens what the others seal for it."""
    peers = [(offer(peer, key), PAIR) for peer, key in pairs.items()]
    return {
        sealed.recipient: key.hex()
        for sealed, key in seal_shares(pairs[name], CONTEXT, name, peers)
    }


def test_everybody_else_opens_what_is_theirs(pairs):
    shares = [sealed for sealed, _ in dealt(pairs)]
    assert [(sealed.sender, sealed.recipient) for sealed in shares] == [("a", "b"), ("a", "c")]
    for sealed in shares:
        name = sealed.recipient
        opened = list(open_shares(opening_keys(pairs, name), CONTEXT, name, [sealed]))
        assert opened == [("a", PAIR)]


def test_no_key_seals_both_ways_or_for_two(pairs):
    """What comes back sealed by the own key is not a peer's."""
    keys = [key for name in "abc" for key in opening_keys(pairs, name).values()]
    assert len(set(keys)) == 6


@pytest.mark.parametrize("pair", [("", ""), ("01" * 33, "02" * 32), ("01" * 33, "02" * 34)])
def test_shares_of_another_length_are_refused(pairs, pair, code):
    """Only their sender can seal such ones."""
    sealed = dealt(pairs, pair)[0][0]
    opening = open_shares(opening_keys(pairs, "b"), CONTEXT, "b", [sealed])
    assert code(lambda: list(opening)) is Code.SUM_SHARE


def test_one_of_two_adds_the_mask_that_the_other_subtracts(pairs):
    ours = pair_mask_key(pairs["a"], CONTEXT, "a", "b", pairs["b"].public)
    theirs = pair_mask_key(pairs["b"], CONTEXT, "b", "a", pairs["a"].public)
    assert ours == (True, theirs[1])
    assert theirs[0] is False


def test_a_copied_key_gives_its_owner_no_mask_of_another(pairs):
    public = pairs["b"].public
    made = {pair_mask_key(pairs["a"], CONTEXT, "a", name, public)[1] for name in "bc"}
    assert len(made) == 2


def test_own_masks_are_by_seed_session_and_name():
    made = {
        own_mask_key(bytes(32), CONTEXT, "a"),
        own_mask_key(bytes(32), CONTEXT, "b"),
        own_mask_key(bytes(32), "cd" * 32, "a"),
        own_mask_key(b"\x01" * 32, CONTEXT, "a"),
    }
    assert len(made) == 4
