import numpy as np
import pytest

from simulations.benchmarks.secure_sum.graph import Crowd, fewest_peers
from simulations.benchmarks.secure_sum.paper import degrees, on_paper


def test_more_corrupt_or_gone_take_more_peers():
    fewest = [fewest_peers(Crowd(500, c, g), two_faced=True) for c, g in ((25, 25), (50, 25))]
    assert fewest[0][0] < fewest[1][0]
    assert fewest[1][0] < fewest_peers(Crowd(500, 50, 100), two_faced=True)[0]


def test_a_two_faced_server_takes_more_peers_and_a_higher_threshold():
    crowd = Crowd(500, 50, 50)
    (plain, low), (guarded, high) = (fewest_peers(crowd, two_faced=f) for f in (False, True))
    assert plain < guarded
    assert low / plain < high / guarded
    assert 2 * high > guarded


def test_peers_grow_slowly_with_clients():
    found = [fewest_peers(Crowd(n, n // 10, n // 10), two_faced=False)[0] for n in (1000, 10_000)]
    assert found[0] < found[1] < 1.5 * found[0]


def test_too_many_against_too_few_are_not_promised_anything():
    assert fewest_peers(Crowd(20, 8, 8), two_faced=True) is None


@pytest.mark.parametrize("two_faced", [False, True])
def test_drawn_circles_keep_what_the_bounds_promise(two_faced):
    """With bounds of 2^-30 and less, a thousand circles show no failure at all."""
    crowd, rng = Crowd(60, 3, 6), np.random.default_rng(3)
    peers, threshold = fewest_peers(crowd, two_faced=two_faced)
    offsets = np.array([o for o in range(-peers // 2, peers // 2 + 1) if o])
    for _ in range(1000):
        role = rng.permutation([1] * 3 + [2] * 6 + [0] * 51)  # corrupt, gone, honest
        around = role[(np.arange(60)[:, None] + offsets) % 60]
        corrupt, gone = (around == 1).sum(axis=1), (around == 2).sum(axis=1)
        assert (peers - gone >= threshold).all()
        assert ((2 * threshold - peers if two_faced else threshold) > corrupt).all()


def test_fewer_peers_than_promised_do_fail():
    """The bounds are not idle: a quarter of the peers leaves clients without enough."""
    crowd, rng = Crowd(60, 3, 6), np.random.default_rng(3)
    peers, threshold = fewest_peers(crowd, two_faced=True)
    few = max(2, peers // 4)
    offsets = np.array([o for o in range(-few // 2, few // 2 + 1) if o])
    share, failed = threshold / peers, 0
    for _ in range(200):
        role = rng.permutation([1] * 3 + [2] * 6 + [0] * 51)
        gone = (role[(np.arange(60)[:, None] + offsets) % 60] == 2).sum(axis=1)
        failed += bool((len(offsets) - gone < share * len(offsets)).any())
    assert failed > 100


def test_on_paper_the_random_graph_costs_less():
    priced = dict.fromkeys(
        (
            "key pair",
            "key agreement",
            "key derivation",
            "signature",
            "check of a signature",
            "sealing",
            "opening",
        ),
        1e-5,
    )
    rows = on_paper({**priced, "byte of a mask": 1e-10}, bytes_a_peer=1000.0)
    assert len(rows) == 2 * len(degrees())
    for complete, random in zip(rows[::2], rows[1::2], strict=True):
        assert (complete["graph"], random["graph"]) == ("complete", "random")
        assert random["peers"] < complete["peers"] == complete["clients"] - 1
        assert random["client, s"] < complete["client, s"]
        assert random["server, GB of JSON"] < complete["server, GB of JSON"]
