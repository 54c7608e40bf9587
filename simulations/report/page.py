"""The page: header with the result, contents, sections, one self-contained file."""

from __future__ import annotations

from simulations.report.data import ReportData
from simulations.report.markup import Markup, element, join
from simulations.report.numbers import (
    byte_size,
    count,
    epsilon_text,
    interval,
    metric_name,
    ratio,
    signed,
)
from simulations.report.privacy import privacy_section
from simulations.report.prose import METHOD_NAMES, headline, qualifier, warnings
from simulations.report.quality import (
    breakdown_section,
    gain_section,
    lists_section,
    quality_section,
)
from simulations.report.run_sections import cost_section, run_section
from simulations.report.style import STYLE

__all__ = ["render"]

_CONTENTS = (
    ("quality", "Quality"),
    ("gain", "Who gains"),
    ("privacy", "Guarantee"),
    ("range", "Range"),
    ("breakdown", "For whom"),
    ("cost", "Cost"),
    ("run", "The run"),
)


def render(data: ReportData) -> str:
    """The whole page.

    Args:
        data: everything that it shows.

    Returns:
        HTML that needs no network, no script and no other file.
    """
    sections = (
        quality_section(data),
        gain_section(data),
        privacy_section(data),
        lists_section(data),
        breakdown_section(data),
        cost_section(data),
        run_section(data),
    )
    body = element(
        "body",
        element("a", "Skip to the results", href="#quality", class_="skip"),
        _header(data),
        _contents(),
        element("main", *sections),
        element("footer", f"HushRec report of {data.created}. One file, no network, no script."),
    )
    return "<!doctype html>\n" + element("html", _head(data), body, lang="en") + "\n"


def _head(data: ReportData) -> Markup:
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", f"{data.title} – HushRec"),
        element("style", Markup(STYLE)),
    )


def _contents() -> Markup:
    links = (element("li", element("a", words, href=f"#{name}")) for name, words in _CONTENTS)
    return element("nav", element("ul", *links), aria_label="Contents")


def _header(data: ReportData) -> Markup:
    boxes = [
        element(
            "div", element("p", element("strong", f"{title}. "), words), class_="warn", role="note"
        )
        for title, words in warnings(data)
    ]
    return element(
        "header",
        element("p", f"HushRec run report, {data.created}", class_="over"),
        element("h1", data.title),
        element("p", headline(data), class_="lead"),
        *boxes,
        element("dl", *_key_figures(data), class_="key"),
        element("p", "Quality here is exact and not a private release.", class_="soft"),
    )


def _key_figures(data: ReportData) -> list[Markup]:
    figures = [_quality_figure(data), *_gain_figures(data), _epsilon_figure(data)]
    up, down = (sum(getattr(t, way) for t in data.traffic) for way in ("up", "down"))
    clients = len(data.spend) or sum(group.shops for group in data.by_size)
    figures.append(
        _figure(
            "Federation",
            f"{count(clients)} clients",
            f"{len(data.rounds)} rounds, {byte_size(up)} up, {byte_size(down)} down, "
            f"{sum(p.seconds for p in data.phases):.0f} s",
        )
    )
    return figures


def _quality_figure(data: ReportData) -> Markup:
    chosen = data.estimate(data.serving)
    value = "–" if chosen is None else ratio(chosen.mean)
    small = "" if chosen is None else f"95% interval {interval(chosen)}"
    return _figure(
        f"{metric_name(data.metric)}, {METHOD_NAMES[data.serving].lower()}", value, small
    )


def _gain_figures(data: ReportData) -> list[Markup]:
    """The gain of the smallest and of the largest shops."""
    ends = data.by_size[:1] + data.by_size[-1:] if len(data.by_size) > 1 else data.by_size
    return [
        _figure(
            f"Gain over alone, {group.label}",
            signed(group.gain.mean),
            f"95% interval {interval(group.gain, sign=True)}",
        )
        for group in ends
    ]


def _epsilon_figure(data: ReportData) -> Markup:
    epsilon = data.guarantee.epsilon
    if epsilon is None:
        why = "no ε holds for some client" if data.guarantee.endless else "mode none"
        return _figure("Guarantee", "None", f"{why}: not private")
    label = "Largest ε of a client" + (", if the seed were secret" if data.seeded_noise else "")
    return _figure(label, epsilon_text(epsilon), qualifier(data.guarantee))


def _figure(label: str, value: str, small: str) -> Markup:
    return element(
        "div",
        element("dt", label),
        element(
            "dd",
            join([element("span", value, class_="n"), element("span", small, class_="s")]),
        ),
    )
