"""What the server sees of one client's words: noise, with all that it learns in a session."""

import numpy as np
import pytest
from scipy import stats

from common.secure_sum import masks

FALSE_ALARM = 1e-10
SIZE = 1 << 17


def p_of_uniform_bytes(words) -> float:
    """Two-sided, by chi-square."""
    counts = np.bincount(words.view(np.uint8), minlength=256)
    p = stats.chisquare(counts).pvalue
    return float(2 * min(p, 1 - p))


def keys_known_to(some, colluders, client):
    """Keys of the client's masks that the server can make after the reveals: its own mask's,
    those with colluders, and those with who dropped out."""
    masking = some.masking[client]
    others = set(masking.dealers) - set(colluders) - {client} - set(some.collector._added)
    known = set()
    for peer in {*colluders, *others}:
        theirs = some.masking.get(peer)
        if theirs is not None:
            known |= {*theirs.adds, *theirs.subtracts} & {*masking.adds, *masking.subtracts}
    return known | {masking.adds[0]}


@pytest.mark.parametrize("kind", [np.uint32, np.uint64], ids=["32", "64"])
def test_one_clients_words_look_uniform_even_after_the_reveals(kind, session):
    """a, b, c are honest, d colludes, e drops out after its words were masked."""
    some = session(5, 4)
    boxes = some.deal(some.offer())
    words = np.arange(SIZE, dtype=kind)
    sent = {name: some.open(name, boxes[name]).apply(words) for name in some.names}
    for name in "abcd":
        some.collector.add(name, sent[name])
    some.reveal(some.agree(some.collector.survivors()))
    for name in "abc":
        seen = sent[name].copy()
        assert p_of_uniform_bytes(seen) > FALSE_ALARM
        known = keys_known_to(some, "d", name)
        assert len(known) == 3
        masking = some.masking[name]
        masks.shift(
            seen,
            [bytes.fromhex(key) for key in masking.subtracts if key in known],
            [bytes.fromhex(key) for key in masking.adds if key in known],
        )
        assert p_of_uniform_bytes(seen) > FALSE_ALARM
        assert p_of_uniform_bytes(seen - words) > FALSE_ALARM


def test_two_honest_clients_together_are_as_hidden_as_one(session):
    """Only the sum of all three honest clients has no mask that the server does not know."""
    some = session(4, 3)
    boxes = some.deal(some.offer())
    words = np.arange(SIZE, dtype=np.uint32)
    sent = {name: some.open(name, boxes[name]).apply(words) for name in some.names}
    for name, masked in sent.items():
        some.collector.add(name, masked)
    some.reveal(some.agree(some.collector.survivors()))
    for group, hidden in (("a", True), ("ab", True), ("ac", True), ("abc", False)):
        seen = np.zeros(SIZE, dtype=np.uint32)
        for name in group:
            masking, known = some.masking[name], keys_known_to(some, "d", name)
            seen += sent[name]
            off = [bytes.fromhex(key) for key in masking.adds if key in known]
            masks.shift(seen, [bytes.fromhex(k) for k in masking.subtracts if k in known], off)
        assert (p_of_uniform_bytes(seen) > FALSE_ALARM) == hidden
        assert np.array_equal(seen, len(group) * words) != hidden


def test_two_sessions_mask_the_same_words_anew(session):
    first = session(3, 3)
    second = first.again("another")
    words = np.zeros(SIZE, dtype=np.uint32)
    sent = []
    for some in (first, second):
        boxes = some.deal(some.offer())
        sent.append(some.open("a", boxes["a"]).apply(words))
    assert p_of_uniform_bytes(sent[0] - sent[1]) > FALSE_ALARM
