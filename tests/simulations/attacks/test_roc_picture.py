"""The picture is well-formed, says what it shows, and its names do not lie on each other."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from simulations.attacks.roc import Promise, roc_curve
from simulations.attacks.roc_picture import roc_picture
from simulations.report.svg import WIDTH


def curve(shift: float, count: int = 20_000):
    rng = np.random.default_rng(5)
    return roc_curve(rng.normal(shift, 1, count), rng.normal(0, 1, count))


def drawn(shifts=(1.0, 0.2), promise=None):
    curves = [(f"attack {k}", curve(shift)) for k, shift in enumerate(shifts)]
    made = roc_picture("roc", "A title", "What it shows & why", curves, promise)
    return ElementTree.fromstring(made)


def names(svg):
    return [t for t in svg.iter("text") if t.get("style")]


@pytest.mark.parametrize(
    "promise", [None, Promise(8.0, 1e-3, 2.0), Promise(1.0, 1e-5), Promise(0.01, 1e-9, 0.002)]
)
@pytest.mark.parametrize("shifts", [(1.0, 0.2), (0.0, 0.0), (9.0,)])
def test_names_stand_apart_and_inside(promise, shifts):
    svg = drawn(shifts, promise)
    places = sorted(float(t.get("y")) for t in names(svg))
    assert all(b - a >= 12.9 for a, b in itertools.pairwise(places))
    assert all(0 < y < 300 for y in places)
    assert len(places) == len(svg.findall(".//polyline"))


def test_it_has_chance_the_curves_and_the_promise():
    svg = drawn(promise=Promise(8.0, 1e-3, 2.0))
    found = {t.text for t in names(svg)}
    assert found == {"chance", "attack 0", "attack 1", "(ε, δ) allows", "μ-GDP allows"}
    assert svg.find("title").text == "A title"
    assert svg.find("desc").text == "What it shows & why"
    assert "μ-GDP allows" not in {t.text for t in names(drawn(promise=Promise(8.0, 1e-3)))}


def test_every_point_lies_on_the_paper_and_no_line_falls():
    for line in drawn(promise=Promise(4.0, 1e-3, 1.0)).iter("polyline"):
        points = [tuple(map(float, p.split(","))) for p in line.get("points").split()]
        assert all(0 <= x <= WIDTH and 0 <= y <= 300 for x, y in points)
        heights = [y for _, y in points]
        assert heights == sorted(heights, reverse=True)


def test_the_axes_end_where_ten_others_are_left():
    for count, lowest in ((2_000, "0.01"), (20_000, "0.001")):
        made = roc_picture("r", "t", "d", [("a", curve(1.0, count))], None)
        ticks = {t.text for t in ElementTree.fromstring(made).iter("text") if t.get("class") == "t"}
        assert lowest in ticks
        assert math.isclose(min(float(t) for t in ticks if t[0] in "01"), float(lowest))
