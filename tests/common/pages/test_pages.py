"""Numbers and elements of pages are the same on every page."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.pages.markup import Markup, element, join
from common.pages.numbers import big, count, epsilon_text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (count(5800), "5,800"),
        (big(7.26e-5), "7.3×10⁻⁵"),
        (big(-3.0), "−3"),
        (big(0), "0"),
        (epsilon_text(8.0), "8.00"),
        (epsilon_text(7.981), "7.99"),
        (epsilon_text(0.05), "0.05"),
    ],
)
def test_numbers_read_well(found: str, expected: str) -> None:
    assert found == expected


@given(st.floats(min_value=0.1, max_value=1e4))
def test_an_epsilon_is_never_shown_smaller_than_it_is(epsilon: float) -> None:
    shown = float(epsilon_text(epsilon))
    assert epsilon - 1e-6 <= shown <= epsilon + 0.01
    assert math.isfinite(shown)


def test_text_is_escaped_and_markup_is_not() -> None:
    assert element("p", "<b>", Markup("<i>x</i>"), None) == "<p>&lt;b&gt;<i>x</i></p>"
    assert element("p", title='"&<', class_=None) == '<p title="&quot;&amp;&lt;"></p>'
    assert join(["<", Markup("<hr/>")]) == "&lt;<hr/>"
