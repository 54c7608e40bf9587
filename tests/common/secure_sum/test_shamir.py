import secrets
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.secure_sum.shamir import PRIME, Lagrange, deal, from_hex, to_hex

SECRETS = st.one_of(st.binary(min_size=32, max_size=32), st.sampled_from([bytes(32), b"\xff" * 32]))


def slow_value_at(x: int, points: dict[int, int]) -> int:
    """Lagrange's polynomial in exact fractions, taken modulo the prime at the very end."""
    total = Fraction(0)
    for place, value in points.items():
        term = Fraction(value)
        for other in points:
            if other != place:
                term *= Fraction(x - other, place - other)
        total += term
    return total.numerator * pow(total.denominator, -1, PRIME) % PRIME


def test_the_modulus_is_the_first_prime_with_room_for_a_secret():
    def is_prime(number: int) -> bool:
        """Miller and Rabin, 40 random bases."""
        odd, twos = number - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        for _ in range(40):
            power = pow(2 + secrets.randbelow(number - 3), odd, number)
            if power in (1, number - 1):
                continue
            for _ in range(twos - 1):
                power = power * power % number
                if power == number - 1:
                    break
            else:
                return False
        return True

    assert is_prime(PRIME)
    assert not any(is_prime(number) for number in range(2**256 + 1, PRIME, 2))


@settings(deadline=None)
@given(secret=SECRETS, data=st.data(), threshold=st.integers(1, 7))
def test_any_threshold_of_shares_puts_the_secret_together(secret, data, threshold):
    places = data.draw(
        st.lists(st.integers(1, 2**32 - 1), min_size=threshold, max_size=9, unique=True)
    )
    shares = dict(zip(places, deal(secret, threshold, places), strict=True))
    chosen = data.draw(st.permutations(places))[:threshold]
    points = {place: shares[place] for place in chosen}
    assert Lagrange(chosen).rebuild(list(points.values())) == secret
    assert slow_value_at(0, points) == int.from_bytes(secret, "big")


@settings(deadline=None)
@given(secret=SECRETS, data=st.data(), threshold=st.integers(1, 6))
def test_shares_at_other_places_and_secrets_without_one_are_those_of_the_slow_way(
    secret, data, threshold
):
    places = data.draw(
        st.lists(st.integers(1, 2**32 - 1), min_size=threshold + 1, max_size=8, unique=True)
    )
    shares = deal(secret, threshold, places)
    *base, other = places[: threshold + 1]
    assert Lagrange(base).share_at(other, shares[:threshold]) == shares[threshold]
    wrong = data.draw(st.integers(0, threshold))
    spoilt = shares[: threshold + 1]
    spoilt[wrong] = data.draw(st.integers(0, PRIME - 1))
    found = list(Lagrange(places[: threshold + 1]).without_each(spoilt))
    assert found[wrong] == secret
    for left_out, value in enumerate(found):
        points = dict(zip(places[: threshold + 1], spoilt, strict=True))
        del points[places[left_out]]
        slow = slow_value_at(0, points)
        assert value == (None if slow.bit_length() > 256 else slow.to_bytes(32, "big"))


def test_every_choice_of_places_gives_the_same_secret():
    secret = secrets.token_bytes(32)
    shares = deal(secret, 3, range(1, 7))
    for chosen in combinations(range(6), 3):
        lagrange = Lagrange(place + 1 for place in chosen)
        assert lagrange.rebuild([shares[place] for place in chosen]) == secret


@settings(deadline=None)
@given(secret=SECRETS, other=SECRETS, threshold=st.integers(2, 6))
def test_fewer_shares_fit_every_secret(secret, other, threshold):
    """For any other secret there is one missing share with which it comes out."""
    places = range(1, threshold + 1)
    shares = deal(secret, threshold, places)
    seen = dict(zip(places, shares[:-1], strict=False))
    missing = slow_value_at(threshold, {0: int.from_bytes(other, "big"), **seen})
    assert Lagrange(places).rebuild([*shares[:-1], missing]) == other
    assert (missing == shares[-1]) == (secret == other)


def test_single_shares_are_uniform_and_new_each_time():
    """Deciles of 4000 shares of one secret; a false alarm is rarer than 1e-9."""
    found = [deal(bytes(32), 2, [7])[0] for _ in range(4000)]
    assert len(set(found)) == 4000
    counts = [sum(10 * share // PRIME == decile for share in found) for decile in range(10)]
    assert sum((count - 400) ** 2 / 400 for count in counts) < 60
    assert any(share.bit_length() == 256 for share in found)


def test_one_of_one_is_the_secret_itself():
    assert deal(b"\x07" * 32, 1, [1, 2]) == [int.from_bytes(b"\x07" * 32, "big")] * 2


@pytest.mark.parametrize("places", [[0, 1], [1, 1], [-1], [2**32]], ids=str)
def test_places_that_would_give_the_secret_away_or_clash_are_refused(places):
    with pytest.raises(ValueError, match="places"):
        deal(bytes(32), 2, places)
    with pytest.raises(ValueError, match="places"):
        Lagrange(places)


def test_secrets_have_32_bytes_and_shares_one_for_each_place():
    with pytest.raises(ValueError, match="32 bytes"):
        deal(bytes(31), 2, [1, 2])
    with pytest.raises(ValueError, match="argument"):
        Lagrange([1, 2]).rebuild([1])


def test_what_is_larger_than_any_secret_is_none():
    with pytest.raises(ValueError, match="no secret"):
        Lagrange([1]).rebuild([2**256])


@settings(deadline=None)
@given(st.integers(0, PRIME - 1))
def test_shares_travel_as_33_bytes(share):
    assert len(to_hex(share)) == 66
    assert from_hex(to_hex(share)) == share


@pytest.mark.parametrize("value", [PRIME, 2**264 - 1], ids=["prime", "largest"])
def test_a_share_is_below_the_prime(value):
    with pytest.raises(ValueError, match="below the prime"):
        from_hex(f"{value:066x}")
