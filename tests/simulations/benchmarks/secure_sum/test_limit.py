import pytest

from common.secure_sum import keys, masks
from simulations.benchmarks.secure_sum.growth import client_words
from simulations.benchmarks.secure_sum.limit import Sum, client_counts, counts, prices, seconds
from simulations.benchmarks.secure_sum.ours import Federation, usual_terms


def _counted(monkeypatch, clients, gone):
    """What one of our sums really calls."""
    found = {"key agreement": 0, "mask": 0}
    shared, shift = keys.PairKey._shared, masks.shift

    def counting_agree(*arguments):
        found["key agreement"] += 1
        return shared(*arguments)

    def counting_shift(words, adds=(), subtracts=()):
        adds, subtracts = list(adds), list(subtracts)
        found["mask"] += len(adds) + len(subtracts)
        shift(words, adds, subtracts)

    monkeypatch.setattr(keys.PairKey, "_shared", counting_agree)
    monkeypatch.setattr(masks, "shift", counting_shift)
    Federation(usual_terms(clients)).session(client_words(10), gone).run()
    return found


@pytest.mark.parametrize("gone", [0, 2])
def test_the_limit_counts_what_a_sum_calls(monkeypatch, gone):
    size = Sum(10, 10 - gone, usual_terms(10).threshold, 10, peers=9)
    limit, called = counts(size), _counted(monkeypatch, 10, gone)
    assert called["mask"] == limit["byte of a mask"] / 40
    assert called["key agreement"] == limit["key agreement"]


def test_the_limit_by_hand():
    size = Sum(clients=5, survivors=4, threshold=4, words=100, peers=4)
    assert counts(size) == {
        "key pair": 10,
        "key agreement": 5 * 4 + 4 * 4 + 4,  # sealing, masking, the server for who is gone
        "key derivation": 5 * 4 + 4 * 5 + 4 + 4,
        "signature": 5 + 4,
        "check of a signature": 5 * 4 + 4 * 3,
        "sealing": 5 * 4,
        "opening": 4 * 4,
        "byte of a mask": 400 * (4 * 5 + 4 + 4),
    }


def test_a_client_s_work_is_linear_in_its_peers():
    few, many = (client_counts(Sum(n, n, n, 10, n - 1)) for n in (11, 101))
    assert many["key agreement"] == 10 * few["key agreement"]


def test_every_call_has_a_price():
    priced = prices(repeats=3)
    assert set(priced) == set(counts(Sum(5, 4, 4, 10, 4)))
    assert all(price > 0 for price in priced.values())
    assert seconds({"signature": 2.0}, priced) == 2 * priced["signature"]
