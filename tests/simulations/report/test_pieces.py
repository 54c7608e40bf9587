"""Numbers, markup and shapes that the page is made of."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.report.charts import DotRow, bar_rows, dot_rows
from simulations.report.data import Estimate
from simulations.report.markup import Markup, element
from simulations.report.numbers import big, byte_size, epsilon_text, interval, ratio, signed, ticks
from simulations.report.svg import WIDTH, Axis, legend


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (ratio(-0.0123), "−0.012"),
        (signed(0.041), "+0.041"),
        (signed(-0.041), "−0.041"),
        (big(7.26e-5), "7.3×10⁻⁵"),
        (big(0.25), "0.25"),
        (big(-3.0), "−3"),
        (big(0), "0"),
        (byte_size(999), "999 B"),
        (byte_size(4_110_000), "4.11 MB"),
        (byte_size(2_500_000_000_000), "2,500 GB"),
        (epsilon_text(8.0), "8.00"),
        (epsilon_text(7.981), "7.99"),
        (interval(Estimate(mean=0, low=-0.01, high=0.01), dash=True), "−0.010 to 0.010"),
        (interval(Estimate(mean=0.1, low=0.09, high=0.11), dash=True), "0.090–0.110"),
    ],
)
def test_numbers_as_people_read_them(made: str, expected: str) -> None:
    assert made == expected


@given(st.floats(1e-4, 100))
@settings(max_examples=50, deadline=None)
def test_a_shown_epsilon_never_promises_too_much(epsilon: float) -> None:
    shown = epsilon_text(epsilon)
    if "×" not in shown:
        assert float(shown) >= epsilon * (1 - 1e-6)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
@settings(max_examples=100, deadline=None)
def test_ticks_are_few_and_hold_the_values(low: float, span: float) -> None:
    made = ticks(low, low + span)
    assert 2 <= len(made) <= 8
    slack = 1e-6 * (abs(low) + span)
    assert made[0] <= low + slack
    assert made[-1] >= low + span - slack
    assert all(b > a for a, b in itertools.pairwise(made))


def test_ticks_of_a_single_value() -> None:
    assert len(ticks(0.0, 0.0)) == 2
    assert ticks(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_text_is_escaped_and_markup_is_not() -> None:
    assert element("p", "<b>", Markup("<i>x</i>")) == "<p>&lt;b&gt;<i>x</i></p>"
    assert element("p", title='"&<') == '<p title="&quot;&amp;&lt;"></p>'
    assert element("rect", x=1.006, y=2.0, class_=None) == '<rect x="1.01" y="2"/>'


def test_axis_maps_ends_to_ends() -> None:
    axis = Axis(0, 2, 100, 300)
    assert [axis.at(v) for v in (0, 1, 2)] == [100, 200, 300]
    assert math.isfinite(Axis(1, 1, 0, 10).at(1))


def test_a_long_legend_takes_more_lines() -> None:
    _, one = legend([("joint", "short")], 12)
    _, two = legend([("joint", "a name of many words")] * 4, 12)
    assert two > one + 16


def test_rows_of_zeros_can_be_drawn() -> None:
    zero = Estimate(mean=0, low=0, high=0)
    assert f'viewBox="0 0 {WIDTH} ' in dot_rows("a", "b", "c", [DotRow("d", (("joint", zero),))])
    assert "<rect" in bar_rows("a", "b", "c", [("d", 0.0, "0 s")])
