"""Secrets out of more shares than it takes, and whose do not fit."""

import secrets
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.secure_sum import rebuilding, shamir
from common.secure_sum.messages import Reveal
from common.secure_sum.rebuilding import Rebuilder
from common.secure_sum.unmasking import MaskKeys


class Shared:
    """Secrets of some owners, dealt to clients a, b, c..., of whom some reveal other shares."""

    def __init__(self, clients, threshold, owners, wrong=()):
        self.threshold = threshold
        self.names = [chr(ord("a") + index) for index in range(clients)]
        self.places = {name: 2 * index + 1 for index, name in enumerate(self.names)}
        self.secrets = {owner: secrets.token_bytes(32) for owner in owners}
        shares = {
            owner: shamir.deal(secret, threshold, self.places.values())
            for owner, secret in self.secrets.items()
        }
        for name, owner, by in wrong:
            at = self.names.index(name)
            shares[owner][at] = (shares[owner][at] + by) % shamir.PRIME
        self.shares = shares
        self.reveals = [
            Reveal(
                name=name,
                seeds={owner: shamir.to_hex(shares[owner][at]) for owner in owners},
                keys={},
            )
            for at, name in enumerate(self.names)
        ]

    def rebuilt(self):
        rebuilder = Rebuilder(self.reveals, self.places, self.threshold)
        found = {
            owner: rebuilder.rebuild(owner, lambda found, secret=secret: found == secret)
            for owner, secret in self.secrets.items()
        }
        return rebuilder, found

    def comes_out(self, owner, most):
        """The oracle: whether any `threshold` of the first `most` shares make the secret."""
        places = list(self.places.values())
        for chosen in combinations(range(min(most, len(places))), self.threshold):
            lagrange = shamir.Lagrange(places[at] for at in chosen)
            try:
                found = lagrange.rebuild([self.shares[owner][at] for at in chosen])
            except ValueError:
                continue
            if found == self.secrets[owner]:
                return True
        return False


@settings(deadline=None)
@given(data=st.data())
def test_one_wrong_share_of_each_secret_does_no_harm(data):
    threshold = data.draw(st.integers(1, 5))
    clients = data.draw(st.integers(threshold + 1, threshold + 3))
    owners = ["x", "y", "z"]
    names = [chr(ord("a") + index) for index in range(threshold + 1)]
    by = st.integers(1, shamir.PRIME - 1)
    wrong = [(data.draw(st.sampled_from(names)), owner, data.draw(by)) for owner in owners]
    shared = Shared(clients, threshold, owners, wrong)
    rebuilder, found = shared.rebuilt()
    assert found == shared.secrets
    rebuilder.compare()
    needed = {(name, owner) for name, owner, _ in wrong if name != names[-1]}
    told = {(name, owner) for name, owners in rebuilder.wrong.items() for owner in owners}
    assert needed <= told <= {(name, owner) for name, owner, _ in wrong}


@settings(deadline=None)
@given(data=st.data())
def test_a_secret_comes_out_exactly_if_a_threshold_of_the_first_fit(data):
    threshold = data.draw(st.integers(1, 4))
    clients = data.draw(st.integers(threshold, threshold + 2))
    names = [chr(ord("a") + index) for index in range(clients)]
    liars = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    shared = Shared(clients, threshold, ["x"], [(name, "x", 1 + len(name)) for name in liars])
    _, found = shared.rebuilt()
    assert (found["x"] is not None) == shared.comes_out("x", threshold + 1)


@pytest.mark.parametrize("liar", list("abcdef"))
def test_every_wrong_share_is_found_where_there_is_a_threshold_of_right_ones(liar):
    shared = Shared(6, 4, ["x", "y"], [(liar, "y", 5)])
    rebuilder, found = shared.rebuilt()
    rebuilder.compare()
    assert found == shared.secrets
    assert rebuilder.wrong == {liar: ("y",)}


def test_wrong_shares_of_one_client_do_not_hide_in_a_sum_of_secrets():
    """Differences that cancel if secrets are added up without factors."""
    shared = Shared(5, 4, ["x", "y"], [("e", "x", 7), ("e", "y", -7)])
    rebuilder, _ = shared.rebuilt()
    rebuilder.compare()
    assert rebuilder.wrong == {"e": ("x", "y")}


def test_nobody_is_named_by_shares_that_do_not_make_the_secret():
    """a's is wrong, so is that of e, which is then taken instead of others': who is right?"""
    shared = Shared(6, 4, ["x", "y"], [("a", "x", 1), ("e", "y", 1)])
    rebuilder, found = shared.rebuilt()
    rebuilder.compare()
    assert found == shared.secrets
    assert set(rebuilder.wrong) <= {"a", "e"}


def test_a_liar_costs_no_more_weights_than_one_more_set(monkeypatch):
    """Weights take time square in the threshold: they are made for two sets at most."""
    made = []
    weights = rebuilding.Lagrange

    def count(places):
        made.append(1)
        return weights(places)

    monkeypatch.setattr(rebuilding, "Lagrange", count)
    owners = [f"owner-{k}" for k in range(20)]
    shared = Shared(13, 12, owners, [("f", owner, 3) for owner in owners])
    rebuilder, found = shared.rebuilt()
    rebuilder.compare()
    assert found == shared.secrets
    assert rebuilder.wrong == {"f": tuple(sorted(owners))}
    assert len(made) == 2


def test_no_text_form_shows_a_key():
    key = secrets.token_bytes(32)
    shown = repr(MaskKeys(added=[key], subtracted=[key]))
    assert repr(key)[2:-1] not in shown
    assert key.hex() not in shown
