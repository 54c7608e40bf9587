"""What is found is where it is looked for, on the side that counts, and in few evaluations."""

import math

from hypothesis import given
from hypothesis import strategies as st

from common.privacy.roots import FINEST, largest, meet

PLACES = st.floats(-40, 40)


@given(PLACES, PLACES)
def test_the_largest_number_that_holds_is_found_from_either_side(limit, start):
    found = largest(lambda at: at <= limit, start)
    assert found <= limit
    assert limit - found <= FINEST * (1 + 1e-6)


@given(PLACES, PLACES, st.floats(0.3, 3), st.floats(0, 2))
def test_an_increasing_function_is_met_just_below_zero(root, start, slope, bend):
    asked = []

    def excess(at):
        asked.append(at)
        return slope * (at - root) + bend * math.tanh(at - root)

    found = meet(excess, start)
    assert -1e-4 <= excess(found) <= 0
    assert len(asked) <= 30


def test_a_function_that_comes_in_steps_is_met_below_the_step():
    found = meet(lambda at: 1.0 if at > 0.7 else -1.0, 0.0)
    assert 0.7 - FINEST <= found <= 0.7
