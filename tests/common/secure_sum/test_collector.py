"""The whole protocol, as the server sees it: exact totals, and what ends a session."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code
from common.secure_sum import shamir
from common.secure_sum.collector import Collector
from common.secure_sum.messages import SurvivorList

KINDS = {32: np.uint32, 64: np.uint64}


def words_of(names, kind=np.uint32):
    return {name: np.arange(6, dtype=kind).reshape(2, 3) + ord(name) for name in names}


def plain_sum(words, names, bits):
    """In Python's integers, reduced at the end."""
    columns = zip(*(words[name].tolist() for name in names), strict=True)
    return [sum(column) % 2**bits for column in columns]


@pytest.mark.parametrize("bits", [32, 64])
@settings(deadline=None)
@given(data=st.data())
def test_the_total_is_the_plain_sum_whoever_drops_out(bits, data, session, safe_terms):
    terms = data.draw(st.sampled_from(safe_terms(7)))
    some = session(terms.clients, terms.threshold, terms.colluders)

    def left(names, fewest=terms.threshold):
        size = data.draw(st.integers(fewest, len(names)))
        return sorted(data.draw(st.permutations(names))[:size])

    word = st.one_of(st.integers(0, 2**bits - 1), st.sampled_from([0, 1, 2**bits - 1]))
    peers = some.offer(left(some.names))
    boxes = some.deal(peers, left(list(some.offered)))
    masking = left(list(boxes))
    words = {
        name: np.array(data.draw(st.lists(word, min_size=3, max_size=3)), dtype=KINDS[bits])
        for name in masking
    }
    survivors = some.mask(boxes, words)
    agreements = some.agree(survivors, left(masking))
    reveals = some.reveal(agreements, left(list(some.agreed)))
    total = some.collector.total(reveals)
    assert total.dtype == KINDS[bits]
    assert total.tolist() == plain_sum(words, masking, bits)


@settings(deadline=None)
@given(data=st.data())
def test_below_the_threshold_every_stage_ends_without_a_total(data, session, safe_terms, code):
    terms = data.draw(st.sampled_from(safe_terms(6)))
    stage = data.draw(st.sampled_from(["keys", "shares", "masked", "survivors", "reveal"]))
    some = session(terms.clients, terms.threshold, terms.colluders)
    few = data.draw(st.permutations(some.names))[: data.draw(st.integers(0, terms.threshold - 1))]

    def go_on():
        def left(at):
            return few if at == stage else None

        peers = some.offer(left("keys"))
        boxes = some.deal(peers, left("shares"))
        survivors = some.mask(boxes, words_of(few if stage == "masked" else some.names))
        agreements = some.agree(survivors, left("survivors"))
        return some.collector.total(some.reveal(agreements, left("reveal")))

    assert code(go_on) is Code.SUM_THRESHOLD


def test_memory_is_that_of_one_array(session):
    some = session(4, 3)
    words = words_of(some.names)
    peers = some.offer()
    boxes = some.deal(peers)
    for name in some.names:
        some.collector.add(name, some.open(name, boxes[name]).apply(words[name]))
    arrays = [v for v in vars(some.collector).values() if isinstance(v, np.ndarray)]
    assert [array.shape for array in arrays] == [(2, 3)]


def test_what_a_client_sent_is_not_changed_by_the_total(session):
    some = session(3, 3)
    boxes = some.deal(some.offer())
    masked = {n: some.open(n, boxes[n]).apply(words_of("abc")[n]) for n in "abc"}
    kept = {name: words.copy() for name, words in masked.items()}
    for name, words in masked.items():
        some.collector.add(name, words)
    some.collector.total(some.reveal(some.agree(some.collector.survivors())))
    for name in "abc":
        np.testing.assert_array_equal(masked[name], kept[name])


def test_before_the_reveals_the_running_total_is_masked(session):
    some = session(3, 3)
    words = {name: np.zeros(2, dtype=np.uint64) for name in "abc"}
    some.until_masked(words)
    assert some.collector._words.all()


def test_a_server_without_a_roster_gets_the_same_total(session):
    some = session(3, 3)
    some.collector = Collector(some.terms, some.context)
    total = some.collector.total(some.until_revealed(words_of("abc")))
    np.testing.assert_array_equal(total, sum(words_of("abc").values()))


def test_keys_offered_twice_or_by_a_stranger_end_the_session(session, code):
    some = session(3, 3)
    offers = list(some.offer().offers)
    assert code(lambda: some.collector.key_list([*offers, offers[0]])) is Code.SUM_PEERS
    bare = Collector(some.terms, some.context)
    assert code(lambda: bare.key_list([*offers, offers[0]])) is Code.SUM_PEERS
    stranger = offers[0].model_copy(update={"name": "x"})
    assert code(lambda: some.collector.key_list([*offers[1:], stranger])) is Code.SUM_PEERS


def test_whose_keys_are_not_signed_is_named(session):
    some = session(3, 3)
    offers = list(some.offer().offers)
    offers[1] = offers[1].model_copy(update={"signature": offers[0].signature})
    with pytest.raises(Exception, match="keys of b are not signed") as caught:
        some.collector.key_list(offers)
    assert caught.value.code is Code.SUM_PEERS


def test_everybody_deals_once_to_everybody_else(session, code):
    some = session(3, 3)
    a, b, c = some.deals(some.offer())
    changed = {
        "one recipient short": {"shares": a.shares[:-1]},
        "one twice": {"shares": (a.shares[0], a.shares[0])},
        "in another's name": {"shares": b.shares},
        "as somebody else": {"name": "c"},
        "as a stranger": {"name": "x"},
    }
    for change in changed.values():
        some.collector._deals.clear()
        bad = a.model_copy(update=change)
        assert code(lambda bad=bad: some.collector.route([bad, b, c])) is Code.SUM_SHARE
    some.collector._deals.clear()
    assert code(lambda: some.collector.route([a, b, c, c])) is Code.SUM_SHARE


def test_words_come_once_from_who_dealt_and_all_alike(session, code):
    some = session(4, 3)
    some.deal(some.offer(), "abc")
    words = np.zeros((2, 3), dtype=np.uint32)
    some.collector.add("a", words)
    for name, bad in {
        "a": words,
        "d": words,
        "x": words,
        "b": words[:1],
        "c": words.astype(np.uint64),
    }.items():
        assert code(lambda n=name, w=bad: some.collector.add(n, w)) is Code.SUM_STAGE


def test_forged_doubled_and_strange_agreements_end_the_session(session, code):
    some = session(4, 3)
    survivors = some.until_masked(words_of("abc"))
    signed = some.signed(survivors)
    forged = signed[0].model_copy(update={"signature": signed[1].signature})
    stranger = signed[0].model_copy(update={"name": "d"})
    for bad in ([forged, *signed[1:]], [*signed, signed[0]], [stranger, *signed]):
        assert code(lambda bad=bad: some.collector.agreements(bad)) is Code.SUM_SURVIVORS


def test_clients_are_sent_no_more_agreements_than_it_takes(session):
    """Each checks all that it is sent."""
    some = session(5, 4)
    survivors = some.until_masked(words_of("abcde"))
    sent = some.collector.agreements(some.signed(survivors))
    assert [agreement.name for agreement in sent.agreements] == ["a", "b", "c", "d"]
    assert some.collector.total(some.reveal(sent)).size


def change_share(text, by=1):
    return shamir.to_hex((shamir.from_hex(text) + by) % shamir.PRIME)


@pytest.mark.parametrize("victim", ["a", "c", "d"])
def test_a_wrong_share_is_found_and_whose_secret_it_spoils_is_named(victim, session):
    """`d` drops out after it dealt: the share of its key is wrong; the others' are of seeds."""
    some = session(4, 3)
    reveals = some.until_revealed(words_of("abc"))
    kind = "keys" if victim == "d" else "seeds"
    shares = dict(getattr(reveals[1], kind))
    shares[victim] = change_share(shares[victim])
    reveals[1] = reveals[1].model_copy(update={kind: shares})
    with pytest.raises(Exception, match=f"secret of {victim} do not") as caught:
        some.collector.total(reveals)
    assert caught.value.code is Code.SUM_SHARE
    assert caught.value.where == victim


@pytest.mark.parametrize("liar", range(5))
@pytest.mark.parametrize("owners", ["e", "abcde"])
def test_with_shares_to_spare_a_total_is_made_without_who_lies(liar, owners, session):
    some = session(5, 4)
    reveals = some.until_revealed(words_of("abcde"))
    wrong = {name: change_share(reveals[liar].seeds[name]) for name in owners}
    reveals[liar] = reveals[liar].model_copy(update={"seeds": {**reveals[liar].seeds, **wrong}})
    total = some.collector.total(reveals)
    np.testing.assert_array_equal(total, sum(words_of("abcde").values()))
    assert some.collector.wrong == {"abcde"[liar]: tuple(owners)}


def test_where_nobody_lies_nobody_is_wrong(session):
    some = session(6, 4)
    some.collector.total(some.until_revealed(words_of("abcde")))
    assert some.collector.wrong == {}


def test_after_wrong_shares_the_total_may_be_made_of_others(session, code):
    some = session(5, 5)
    reveals = some.until_revealed(words_of("abcde"))
    seeds = {**reveals[1].seeds, "e": change_share(reveals[1].seeds["e"])}
    lying = [reveals[0], reveals[1].model_copy(update={"seeds": seeds}), *reveals[2:]]
    assert code(lambda: some.collector.total(lying)) is Code.SUM_SHARE
    np.testing.assert_array_equal(some.collector.total(reveals), sum(words_of("abcde").values()))


def test_a_dealer_whose_shares_do_not_fit_is_named(session):
    some = session(3, 3)
    peers = some.offer()
    deals = some.deals(peers)
    deals[0] = deals[0].model_copy(
        update={"seed_digest": hashlib.sha256(b"another seed").hexdigest()}
    )
    survivors = some.mask(some.collector.route(deals), words_of("abc"))
    with pytest.raises(Exception, match="secret of a do not") as caught:
        some.collector.total(some.reveal(some.agree(survivors)))
    assert caught.value.code is Code.SUM_SHARE


def test_a_share_that_is_no_number_of_the_field_is_found(session, code):
    some = session(3, 3)
    reveals = some.until_revealed(words_of("abc"))
    seeds = {**reveals[0].seeds, "b": "f" * 66}
    reveals[0] = reveals[0].model_copy(update={"seeds": seeds})
    assert code(lambda: some.collector.total(reveals)) is Code.SUM_SHARE


def test_a_reveal_holds_what_was_asked_for(session, code):
    some = session(4, 3)
    reveals = some.until_revealed(words_of("abc"))
    share = reveals[0].seeds["a"]
    for change in (
        {"seeds": {"a": share}},
        {"seeds": {**reveals[0].seeds, "d": share}},
        {"keys": {}},
        {"keys": {**reveals[0].keys, "a": share}},
        {"name": "d"},
        {"name": "x"},
    ):
        bad = reveals[0].model_copy(update=change)
        assert code(lambda bad=bad: some.collector.total([bad, *reveals[1:]])) is Code.SUM_SHARE


def test_one_client_that_reveals_twice_counts_once(session, code):
    some = session(3, 3)
    reveals = some.until_revealed(words_of("abc"))
    doubled = [reveals[0], reveals[0], reveals[1]]
    assert code(lambda: some.collector.total(doubled)) is Code.SUM_THRESHOLD


def test_there_is_one_total(session, code):
    some = session(3, 3)
    reveals = some.until_revealed(words_of("abc"))
    some.collector.total(reveals)
    assert code(lambda: some.collector.total(reveals)) is Code.SUM_STAGE


def test_stages_out_of_order(session, code):
    some = session(3, 3)
    assert code(some.collector.survivors) is Code.SUM_THRESHOLD
    deals = some.deals(some.offer())
    fresh = Collector(some.terms, some.context, some.roster)
    assert code(lambda: fresh.route(deals)) is Code.SUM_SHARE
    assert code(lambda: fresh.total([])) is Code.SUM_THRESHOLD


def test_survivors_are_in_order_of_name(session):
    some = session(3, 3)
    boxes = some.deal(some.offer())
    for name in "cab":
        some.collector.add(name, some.open(name, boxes[name]).apply(words_of("abc")[name]))
    assert some.collector.survivors() == SurvivorList(survivors=("a", "b", "c"))
