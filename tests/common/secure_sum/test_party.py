"""A server that says anything, held off by one client."""

import numpy as np
import pytest

from common.errors import Code, PolicyError
from common.privacy.roster import Roster, Terms
from common.privacy.signing import SigningKey
from common.secure_sum.keys import PairKey
from common.secure_sum.messages import (
    AgreementList,
    KeyList,
    ShareList,
    SurvivorList,
)
from common.secure_sum.party import Party
from common.secure_sum.statements import signed_agreement, signed_offer

ZERO = "00" * 32


def words_of(names):
    return {name: np.arange(3, dtype=np.uint32) for name in names}


def changed(items, name, **fields):
    """The list with one client's entry changed."""
    return tuple(item.model_copy(update=fields) if item.name == name else item for item in items)


@pytest.fixture
def some(session):
    """a, b, c, d; three of them make a total."""
    return session(4, 3)


@pytest.fixture
def peers(some):
    return some.offer()


def offered_by(some, name, sharing, masking, context=None):
    """Keys that `name` itself signs: a colluder may sign what it likes."""
    return signed_offer(some.keys[name], context or some.context, name, sharing, masking)


def list_with(peers, offer):
    kept = [one for one in peers.offers if one.name != offer.name]
    return KeyList(offers=tuple(sorted([*kept, offer], key=lambda one: one.name)))


class TestKeyLists:
    def refused(self, some, code, offers):
        peers = KeyList(offers=tuple(offers))
        return code(lambda: some.parties["a"].deal(some.offered["a"], peers))

    @pytest.mark.parametrize("field", ["sharing_key", "masking_key"])
    def test_a_swapped_key(self, some, peers, code, field):
        offers = changed(peers.offers, "b", **{field: PairKey.create().public})
        assert self.refused(some, code, offers) is Code.SUM_PEERS

    def test_keys_exchanged_between_two_uses(self, some, peers, code):
        b = peers.offers[1]
        offers = changed(peers.offers, "b", sharing_key=b.masking_key, masking_key=b.sharing_key)
        assert self.refused(some, code, offers) is Code.SUM_PEERS

    def test_another_peers_signed_keys_under_this_name(self, some, peers, code):
        b = peers.offers[1].model_copy(update={"name": "c"})
        assert self.refused(some, code, list_with(peers, b).offers) is Code.SUM_PEERS

    def test_an_invented_peer(self, some, peers, code):
        key, pairs = SigningKey.create(), (PairKey.create().public, PairKey.create().public)
        invented = signed_offer(key, some.context, "x", *pairs)
        assert self.refused(some, code, [*peers.offers, invented]) is Code.SUM_PEERS
        posing = signed_offer(key, some.context, "b", *pairs)
        assert self.refused(some, code, list_with(peers, posing).offers) is Code.SUM_PEERS

    def test_a_peer_twice(self, some, peers, code):
        a, b, c, _ = peers.offers
        assert self.refused(some, code, [a, b, b, c]) is Code.SUM_PEERS
        pairs = PairKey.create().public, PairKey.create().public
        assert self.refused(some, code, [a, b, offered_by(some, "b", *pairs), c]) is Code.SUM_PEERS

    def test_a_list_out_of_order(self, some, peers, code):
        assert self.refused(some, code, reversed(peers.offers)) is Code.SUM_PEERS

    def test_the_own_keys_changed_gone_or_old(self, some, peers, code):
        pairs = PairKey.create().public, PairKey.create().public
        other = offered_by(some, "a", *pairs)
        assert self.refused(some, code, list_with(peers, other).offers) is Code.SUM_PEERS
        assert self.refused(some, code, peers.offers[1:]) is Code.SUM_PEERS

    def test_too_few(self, some, peers, code):
        assert self.refused(some, code, peers.offers[:2]) is Code.SUM_THRESHOLD
        assert self.refused(some, code, []) is Code.SUM_THRESHOLD

    def test_keys_of_another_session(self, some, peers, code):
        old = some.again("another").offer().offers[1]
        assert self.refused(some, code, list_with(peers, old).offers) is Code.SUM_PEERS

    def test_a_signature_for_another_purpose(self, some, peers, code):
        b = peers.offers[1]
        values = {
            "context": some.context,
            "name": "b",
            "sharing": b.sharing_key,
            "masking": b.masking_key,
        }
        offers = changed(peers.offers, "b", signature=some.keys["b"].sign("task", values))
        assert self.refused(some, code, offers) is Code.SUM_PEERS

    def test_one_key_offered_twice(self, some, peers, code):
        a, b = peers.offers[:2]
        fresh = PairKey.create().public
        for sharing, masking in (
            (fresh, fresh),
            (a.sharing_key, fresh),
            (fresh, b.masking_key),
            (fresh, a.sharing_key),
        ):
            copied = offered_by(some, "c", sharing, masking)
            assert self.refused(some, code, list_with(peers, copied).offers) is Code.SUM_PEERS

    def test_one_point_written_in_two_ways(self, some, peers, code):
        b = bytes.fromhex(peers.offers[1].masking_key)
        same = (b[:-1] + bytes([b[-1] | 0x80])).hex()
        copied = offered_by(some, "c", PairKey.create().public, same)
        assert self.refused(some, code, list_with(peers, copied).offers) is Code.SUM_PEERS

    def test_a_point_of_low_order(self, some, peers, code):
        weak = offered_by(some, "b", ZERO, PairKey.create().public)
        assert self.refused(some, code, list_with(peers, weak).offers) is Code.SUM_PEERS

    def test_a_masking_key_of_low_order(self, some, peers, code):
        """No seal needs it: it is refused before any mask is made."""
        weak = list_with(peers, offered_by(some, "b", PairKey.create().public, ZERO))
        assert self.refused(some, code, weak.offers) is Code.SUM_PEERS


class TestShares:
    @pytest.fixture
    def boxes(self, some, peers):
        return some.deal(peers)

    def refused(self, some, code, shares, name="a"):
        return code(lambda: some.open(name, ShareList(shares=tuple(shares))))

    def test_those_of_somebody_else(self, some, boxes, code):
        assert self.refused(some, code, boxes["b"].shares[1:]) is Code.SUM_SHARE
        posing = [one.model_copy(update={"recipient": "a"}) for one in boxes["b"].shares[1:]]
        assert self.refused(some, code, posing) is Code.SUM_SHARE

    def test_own_ones_that_are_labelled_for_somebody_else(self, some, boxes, code):
        b, *rest = boxes["a"].shares
        labelled = b.model_copy(update={"recipient": "c"})
        assert self.refused(some, code, [labelled, *rest]) is Code.SUM_SHARE

    def test_one_senders_under_anothers_name(self, some, boxes, code):
        b, c, d = boxes["a"].shares
        swapped = [b.model_copy(update={"sealed": c.sealed}), c, d]
        assert self.refused(some, code, swapped) is Code.SUM_SHARE

    def test_own_shares_sent_back(self, some, boxes, code):
        b, *rest = boxes["a"].shares
        back = next(one for one in boxes["b"].shares if one.sender == "a")
        mirrored = b.model_copy(update={"sealed": back.sealed})
        assert self.refused(some, code, [mirrored, *rest]) is Code.SUM_SHARE

    @pytest.mark.parametrize("position", [0, 11, 12, 50, -1])
    def test_a_flipped_bit(self, some, boxes, code, position):
        b, *rest = boxes["a"].shares
        raw = bytearray(bytes.fromhex(b.sealed))
        raw[position] ^= 1
        flipped = b.model_copy(update={"sealed": raw.hex()})
        assert self.refused(some, code, [flipped, *rest]) is Code.SUM_SHARE

    @pytest.mark.parametrize("sealed", ["", "00", "abc"])
    def test_no_seal_at_all(self, some, boxes, code, sealed):
        b, *rest = boxes["a"].shares
        empty = b.model_copy(update={"sealed": sealed})
        assert self.refused(some, code, [empty, *rest]) is Code.SUM_SHARE

    def test_those_of_another_session_with_the_same_keys(self, some, boxes, code):
        """The context is in the seal, so that even equal keys do not open it."""
        other = some.again("another")
        party = other.parties["a"]
        offered = some.offered["a"].model_copy(update={"context": other.context})
        dealt = some.dealt["a"].model_copy(update={"context": other.context})
        assert code(lambda: party.open(offered, dealt, boxes["a"])) is Code.SUM_SHARE

    def test_a_sender_twice_or_unheard_of(self, some, boxes, code):
        b, c, d = boxes["a"].shares
        assert self.refused(some, code, [b, b, c]) is Code.SUM_PEERS
        stranger = d.model_copy(update={"sender": "x"})
        assert self.refused(some, code, [b, c, stranger]) is Code.SUM_PEERS
        itself = d.model_copy(update={"sender": "a"})
        assert self.refused(some, code, [b, c, itself]) is Code.SUM_PEERS

    def test_too_few(self, some, boxes, code):
        assert self.refused(some, code, boxes["a"].shares[:1]) is Code.SUM_THRESHOLD
        assert self.refused(some, code, []) is Code.SUM_THRESHOLD
        assert len(some.open("a", ShareList(shares=boxes["a"].shares[:2])).dealers) == 3


class TestSurvivors:
    @pytest.fixture
    def masked(self, some, peers):
        """d offers keys and drops out; a, b and c deal and send words."""
        boxes = some.deal(peers, "abc")
        some.mask(boxes, words_of("abc"))
        return some

    def refused(self, some, code, names, by="a"):
        survivors = SurvivorList(survivors=tuple(names))
        return code(lambda: some.parties[by].agree(some.masking[by], survivors))

    def test_below_the_threshold(self, masked, code):
        assert self.refused(masked, code, "ab") is Code.SUM_THRESHOLD
        assert self.refused(masked, code, "a") is Code.SUM_THRESHOLD

    def test_one_honest_client_alone(self, masked, code):
        assert self.refused(masked, code, "c", by="c") is Code.SUM_THRESHOLD

    def test_nobody_at_all(self, masked, code):
        assert self.refused(masked, code, "") is Code.SUM_SURVIVORS

    @pytest.mark.parametrize("names", ["abd", "abx", "abcd"])
    def test_who_did_not_deal(self, masked, code, names):
        assert self.refused(masked, code, names) is Code.SUM_SURVIVORS

    @pytest.mark.parametrize("names", ["aab", "abcc", "acb", "cba"])
    def test_a_name_twice_or_out_of_order(self, masked, code, names):
        assert self.refused(masked, code, names) is Code.SUM_SURVIVORS

    def test_a_list_without_this_client(self, session, code):
        some = session(4, 3)
        some.mask(some.deal(some.offer()), words_of("abcd"))
        assert self.refused(some, code, "bcd") is Code.SUM_SURVIVORS


class TestReveals:
    @pytest.fixture
    def signed(self, some, peers):
        """All four deal, d drops out before its words; a, b, c sign."""
        survivors = some.mask(some.deal(peers), words_of("abc"))
        return list(some.agree(survivors).agreements)

    def refused(self, some, code, agreements):
        given = AgreementList(agreements=tuple(agreements))
        return code(lambda: some.reveal(given, "a"))

    def sign(self, some, name, names="abc", context=None, key=None):
        return signed_agreement(some.keys[key or name], context or some.context, name, tuple(names))

    def test_one_kind_of_share_for_each_peer(self, some, signed):
        for reveal in some.reveal(AgreementList(agreements=tuple(signed))):
            masking = some.masking[reveal.name]
            assert reveal.seeds == {name: masking.seeds[name] for name in "abc"}
            assert reveal.keys == {"d": masking.keys["d"]}

    def test_too_few_signatures(self, some, signed, code):
        assert self.refused(some, code, signed[:2]) is Code.SUM_THRESHOLD
        assert self.refused(some, code, []) is Code.SUM_THRESHOLD

    def test_a_signature_twice_or_out_of_order(self, some, signed, code):
        a, b, c = signed
        assert self.refused(some, code, [a, b, b]) is Code.SUM_SURVIVORS
        assert self.refused(some, code, [a, b, b, c]) is Code.SUM_SURVIVORS
        assert self.refused(some, code, [b, a, c]) is Code.SUM_SURVIVORS

    def test_a_forged_signature(self, some, signed, code):
        a, b, c = signed
        for forged in (
            c.model_copy(update={"signature": b.signature}),
            c.model_copy(update={"signature": "0" * 128}),
            self.sign(some, "c", key="b"),
        ):
            assert self.refused(some, code, [a, b, forged]) is Code.SUM_SURVIVORS

    def test_a_signature_of_who_is_no_survivor(self, some, signed, code):
        a, b, _ = signed
        assert self.refused(some, code, [a, b, self.sign(some, "d")]) is Code.SUM_SURVIVORS
        assert self.refused(some, code, [*signed, self.sign(some, "d")]) is Code.SUM_SURVIVORS

    def test_a_signature_of_a_stranger(self, some, signed, code):
        stranger = signed_agreement(SigningKey.create(), some.context, "x", tuple("abc"))
        assert self.refused(some, code, [*signed, stranger]) is Code.SUM_SURVIVORS

    @pytest.mark.parametrize("names", ["abcd", "ab", "acb", ""])
    def test_a_signature_under_another_list(self, some, signed, code, names):
        a, b, _ = signed
        other = self.sign(some, "c", names)
        assert self.refused(some, code, [a, b, other]) is Code.SUM_SURVIVORS

    def test_a_signature_of_another_session(self, some, signed, code):
        a, b, _ = signed
        old = self.sign(some, "c", context=some.again("another").context)
        assert self.refused(some, code, [a, b, old]) is Code.SUM_SURVIVORS

    def test_the_threshold_is_enough(self, session):
        some = session(5, 4)
        survivors = some.until_masked(words_of("abcde"))
        agreements = some.agree(survivors, "bcde")
        some.signed(survivors, "a")
        assert set(some.reveal(agreements, "a")[0].seeds) == set("abcde")


def test_a_client_that_drops_all_but_one_honest_learns_nothing_of_it(session, code):
    """The server and colluder c leave honest clients out one by one: three must remain."""
    some = session(4, 3)
    boxes = some.deal(some.offer())
    some.mask(boxes, words_of("abcd"))
    for names in ("ac", "a", "bc"):
        survivors = SurvivorList(survivors=tuple(names))
        party = some.parties[names[0]]
        state = some.masking[names[0]]
        assert code(lambda p=party, s=state, v=survivors: p.agree(s, v)) is Code.SUM_THRESHOLD


def test_what_was_kept_of_another_session_is_refused(session, code):
    some = session(3, 3)
    survivors = some.until_masked(words_of("abc"))
    agreements = some.agree(survivors)
    boxes = ShareList(shares=())
    other = some.again("another").parties["a"]
    assert code(lambda: other.deal(some.offered["a"], KeyList(offers=()))) is Code.SUM_STAGE
    assert code(lambda: other.open(some.offered["a"], some.dealt["a"], boxes)) is Code.SUM_STAGE
    assert code(lambda: other.agree(some.masking["a"], survivors)) is Code.SUM_STAGE
    assert (
        code(lambda: other.reveal(some.masking["a"], some.agreed["a"], agreements))
        is Code.SUM_STAGE
    )


def test_every_mask_of_a_session_has_a_key_of_its_own(session):
    """Each pair's is in two states, one adds what the other subtracts; nothing else is shared."""
    some, other = session(5, 4), session(5, 4, 1, "another")
    for one in (some, other):
        one.until_masked(words_of("abcde"))
    adds = [key for one in (some, other) for m in one.masking.values() for key in m.adds]
    subtracts = [key for one in (some, other) for m in one.masking.values() for key in m.subtracts]
    assert len(set(adds)) == len(adds) == 2 * (5 + 10)
    assert len(set(subtracts)) == len(subtracts) == 2 * 10
    assert set(subtracts) < set(adds)


def test_nothing_is_dealt_in_the_clear(session):
    some = session(3, 3)
    deals = some.deals(some.offer())
    text = "".join(deal.model_dump_json() for deal in deals)
    for name in "abc":
        dealt, offered = some.dealt[name], some.offered[name]
        for secret in (dealt.seed, offered.masking, offered.sharing, dealt.seed_share):
            assert secret not in text


class TestRosters:
    def test_a_client_that_is_not_on_it(self, code):
        keys = {name: SigningKey.create() for name in "abc"}
        roster = Roster.of({name: key.public for name, key in keys.items()})
        terms = Terms(3, 3, 1)
        for name, key in (("x", keys["a"]), ("a", keys["b"])):
            assert code(lambda n=name, k=key: Party(n, k, roster, terms, ZERO)) is Code.SUM_PEERS

    def test_terms_of_another_roster(self, code):
        keys = {name: SigningKey.create() for name in "abc"}
        roster = Roster.of({name: key.public for name, key in keys.items()})
        refused = code(lambda: Party("a", keys["a"], roster, Terms(4, 4, 1), ZERO))
        assert refused is Code.SUM_PEERS

    @pytest.mark.parametrize(("threshold", "colluders"), [(2, 1), (3, 3), (3, 0), (4, 1)])
    def test_terms_that_are_not_safe(self, threshold, colluders):
        keys = {name: SigningKey.create() for name in "abc"}
        roster = Roster.of({name: key.public for name, key in keys.items()})
        with pytest.raises(PolicyError) as caught:
            Party("a", keys["a"], roster, Terms(3, threshold, colluders), ZERO)
        assert caught.value.code is Code.POLICY_THRESHOLD
