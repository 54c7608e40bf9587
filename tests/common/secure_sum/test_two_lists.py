"""The server shows two lists of survivors to two parts of the clients, and colluders sign both.

With 2t > n + c no two lists get t signatures each. Where that is not so, the attack works: it
takes one client's words out of hiding.
"""

from itertools import product

import numpy as np
import pytest

from common.errors import Code, PolicyError
from common.privacy.roster import Terms
from common.secure_sum.collector import Collector
from common.secure_sum.messages import AgreementList, Reveal, SurvivorList
from common.secure_sum.statements import signed_agreement

WORDS = np.array([3, 1, 4, 1, 5, 2**32 - 9], dtype=np.uint32)


class Unchecked(Terms):
    """The variant without the check."""

    def check(self) -> None:
        pass


def best_split(terms: Terms) -> int:
    """Signatures under the list that has fewer, at best: an honest client signs one or none."""
    honest = terms.clients - terms.colluders
    return max(
        terms.colluders + min(signs.count("first"), signs.count("second"))
        for signs in product(("first", "second", "none"), repeat=honest)
    )


def test_two_lists_have_enough_signatures_only_where_the_terms_are_unsafe():
    sizes = range(1, 9)
    for n, t, c in product(sizes, sizes, sizes):
        if not c < t <= n:
            continue
        terms = Terms(n, t, c)
        both = best_split(terms) >= t
        assert both == (2 * t <= n + c)
        if both:
            with pytest.raises(PolicyError):
                terms.check()
        else:
            terms.check()


def test_masks_fall_from_one_more_colluder_on_than_the_terms_say():
    """c' that collude, whatever the terms say of c: the lists are there exactly from 2t - n on."""
    sizes = range(1, 9)
    for n, t in product(sizes, sizes):
        if t > n:
            continue
        most = Terms(n, t, 1).most_before_masks_fall
        for colluders in range(n):
            both = best_split(Terms(n, t, colluders)) >= t
            assert both == (colluders > most)


def masked(session_of, terms):
    """Everybody deals and sends words; colluders come last in the alphabet."""
    some = session_of(terms)
    peers = some.offer()
    boxes = some.deal(peers)
    sent = {name: some.open(name, boxes[name]).apply(WORDS + ord(name)) for name in some.names}
    return some, sent


@pytest.fixture
def session_of(session):
    """Make a session of terms that nothing checked before."""
    return type(session(2, 2))


def collect(some):
    """A server that has the same offers and deals, and adds what it likes."""
    collector = Collector(some.terms, some.context, some.roster)
    collector._offers, collector._deals = some.collector._offers, some.collector._deals
    return collector


def colluder_reveals(some, name, survivors):
    """Without any check; for another list it gives the other shares, too."""
    masking = some.masking[name]
    return Reveal(
        name=name,
        seeds={peer: masking.seeds[peer] for peer in survivors},
        keys={peer: masking.keys[peer] for peer in masking.keys if peer not in survivors},
    )


def attack(some, sent, honest, colluders):
    """The total of one honest client and the colluders, who know their own words."""
    names = tuple(sorted([honest, *colluders]))
    survivors = SurvivorList(survivors=names)
    agreement, agreed = some.parties[honest].agree(some.masking[honest], survivors)
    signed = [
        agreement,
        *(signed_agreement(some.keys[c], some.context, c, names) for c in colluders),
    ]
    listed = AgreementList(agreements=tuple(sorted(signed, key=lambda one: one.name)))
    reveals = [
        some.parties[honest].reveal(some.masking[honest], agreed, listed),
        *(colluder_reveals(some, c, names) for c in colluders),
    ]
    collector = collect(some)
    for name in names:
        collector.add(name, sent[name])
    total = collector.total(reveals)
    return total - sum(WORDS + ord(c) for c in colluders)


def test_without_the_check_the_attack_shows_everybodys_words(session_of):
    """n = 4, t = 3, c = 2: 2t = n + c. Each honest client signs one list, as it should."""
    some, sent = masked(session_of, Unchecked(4, 3, 2))
    for honest in "ab":
        np.testing.assert_array_equal(attack(some, sent, honest, "cd"), WORDS + ord(honest))


@pytest.mark.parametrize(("n", "t"), [(5, 4), (6, 4), (6, 5)])
def test_one_colluder_too_many_has_every_other_clients_words_bare(session_of, n, t):
    """Under terms that are safe for c = 1, 2t - n collude: each honest client signs one list."""
    terms = Terms(n, t, 1)
    colluding = terms.most_before_masks_fall + 1
    some, _ = masked(session_of, terms)
    colluders, honest = some.names[n - colluding :], some.names[: n - colluding]
    needed = t - colluding
    first, second = honest[:needed], honest[needed : 2 * needed]
    assert set(first) | set(second) == set(honest)
    reveals = []
    for signers in (first, second):
        names = tuple(sorted([*signers, *colluders]))
        survivors = SurvivorList(survivors=names)
        signed = [signed_agreement(some.keys[c], some.context, c, names) for c in colluders]
        agreed = {}
        for name in signers:
            agreement, agreed[name] = some.parties[name].agree(some.masking[name], survivors)
            signed.append(agreement)
        listed = AgreementList(agreements=tuple(sorted(signed, key=lambda one: one.name)))
        reveals += [
            some.parties[name].reveal(some.masking[name], agreed[name], listed) for name in signers
        ]
    for victim in honest:
        seeds = colluding + sum(victim in reveal.seeds for reveal in reveals)
        keys = colluding + sum(victim in reveal.keys for reveal in reveals)
        assert min(seeds, keys) >= t


def test_with_the_check_no_client_takes_part(session_of):
    with pytest.raises(PolicyError) as caught:
        masked(session_of, Terms(4, 3, 2))
    assert caught.value.code is Code.POLICY_THRESHOLD


def test_under_safe_terms_the_second_list_gets_no_shares(session_of, code):
    """n = 4, t = 3, c = 1: three honest clients, and d signs both lists."""
    some, _ = masked(session_of, Terms(4, 3, 1))
    lists = {"a": "abd", "b": "abd", "c": "acd"}
    signed = {"abd": [], "acd": []}
    for name, names in lists.items():
        agreement, some.agreed[name] = some.parties[name].agree(
            some.masking[name], SurvivorList(survivors=tuple(names))
        )
        signed[names].append(agreement)
    for names, given in signed.items():
        given.append(signed_agreement(some.keys["d"], some.context, "d", tuple(names)))
    first = AgreementList(agreements=tuple(signed["abd"]))
    assert set(some.reveal(first, "a")[0].seeds) == set("abd")
    second = AgreementList(agreements=tuple(signed["acd"]))
    assert code(lambda: some.reveal(second, "c")) is Code.SUM_THRESHOLD
    mixed = AgreementList(
        agreements=tuple(sorted([*signed["acd"], *signed["abd"][1:2]], key=lambda one: one.name))
    )
    assert code(lambda: some.reveal(mixed, "c")) is Code.SUM_SURVIVORS
    assert code(lambda: some.reveal(first, "c")) is Code.SUM_SURVIVORS


@pytest.mark.parametrize("terms", [Terms(3, 3, 1), Terms(4, 3, 1), Terms(5, 4, 2)], ids=str)
def test_nobody_ever_has_a_threshold_of_both_shares_of_one_client(terms, session_of):
    """Shares that honest clients give under one list, and all those that colluders hold."""
    some, _ = masked(session_of, terms)
    colluders = some.names[terms.clients - terms.colluders :]
    honest = [name for name in some.names if name not in colluders]
    survivors = SurvivorList(survivors=tuple(some.names[-terms.threshold :]))
    signers = [name for name in survivors.survivors if name in honest]
    for name in signers:
        some.signed(survivors, [name])
    both = AgreementList(
        agreements=tuple(
            signed_agreement(some.keys[name], some.context, name, survivors.survivors)
            for name in survivors.survivors
        )
    )
    reveals = some.reveal(both, signers)
    for victim in honest:
        seeds = len(colluders) + sum(victim in reveal.seeds for reveal in reveals)
        keys = len(colluders) + sum(victim in reveal.keys for reveal in reveals)
        assert min(seeds, keys) < terms.threshold
