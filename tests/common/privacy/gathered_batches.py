"""Batches of gathered rows, sound ones of any shape, for the tests of what sums them."""

import numpy as np
from hypothesis import strategies as st

from common.privacy.gathered import PADDING, GatheredRows, dense_rows

TAME = st.floats(-4, 4, width=32)
HOSTILE = st.one_of(
    TAME,
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.sampled_from([0.0, -0.0, 1e-45, 1e-39, 3.4e38, -3.4e38, float("inf"), float("nan")]),
)
HUGE = st.one_of(
    HOSTILE, st.sampled_from([5e-324, 1e-310, 1e154, -1e200, 1.7e308, -1.7e308, 1e-200])
)


@st.composite
def gathered(draw, items=12, first_user=0, wide=False):
    """A sound batch; `wide` has float64 values that float32 does not hold."""
    width, batch = draw(st.integers(1, 4)), draw(st.integers(0, 4))
    own, parameters = draw(st.integers(0, 4)), draw(st.integers(0, 7))
    row = st.integers(0, items - 1)
    shared = np.array(sorted(draw(st.sets(row, max_size=4))), dtype=np.int64)
    rows = np.full((batch, own), PADDING, dtype=np.int64)
    for user in range(batch):
        found = draw(st.lists(row, max_size=own, unique=True))
        rows[user, : len(found)] = found
        rows[user] = draw(st.permutations(rows[user].tolist()))
    steps = draw(st.lists(st.integers(1, 3), min_size=batch, max_size=batch))
    values = draw(st.sampled_from([TAME, HUGE if wide else HOSTILE]))

    def filled(*shape):
        count = int(np.prod(shape))
        taken = draw(st.lists(values, min_size=count, max_size=count))
        return np.array(taken, dtype=np.float64 if wide else np.float32).reshape(shape)

    return GatheredRows(
        first_user + np.cumsum([0, *steps], dtype=np.int64)[:batch],
        rows,
        filled(batch, own, width),
        shared,
        filled(batch, len(shared), width),
        dense_rows(items, parameters, width),
        filled(batch, parameters),
    )


def by_hand(batch):
    """Entry by entry: for each user, row -> list of Python floats."""
    found = []
    for b in range(len(batch.users)):
        mine = {}

        def put(row, values, mine=mine):
            before = mine.setdefault(row, [0.0] * batch.width)
            mine[row] = [x + float(y) for x, y in zip(before, values, strict=True)]

        for row, values in zip(batch.own_rows[b], batch.own_values[b], strict=True):
            if row != PADDING:
                put(int(row), values)
        for row, values in zip(batch.shared_rows, batch.shared_values[b], strict=True):
            put(int(row), values)
        for place, row in enumerate(batch.dense_rows):
            values = [0.0] * batch.width
            for column in range(batch.width):
                if place * batch.width + column < batch.dense_values.shape[1]:
                    values[column] = batch.dense_values[b, place * batch.width + column]
            put(row, values)
        found.append(mine)
    return found
