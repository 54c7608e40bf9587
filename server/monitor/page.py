"""The page: a server at a glance, without scripts, readable on a phone and by ear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from common.pages.markup import Child, Markup, element, join
from common.pages.numbers import count
from server.monitor.view import HomeView, RunView
from server.monitor.words import (
    ago,
    certificate_words,
    headline,
    member_words,
    refused_words,
    round_words,
    run_words,
)

__all__ = ["render"]

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#14171b;--soft:#4b5159;--line:#c9c5bb;--paper:#fdfcf9;
--warn:#8c1d18;--good:#1d5c37}
@media (prefers-color-scheme:dark){:root{--ink:#eceae4;--soft:#b3b6ba;--line:#4a4d52;
--paper:#16181b;--warn:#ffb4a9;--good:#9bd8b1}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--paper);color:var(--ink);
font:1rem/1.45 system-ui,"Segoe UI",Arial,sans-serif}
h1{font-size:1.4rem;margin:.2rem 0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:1.6rem 0 .3rem}
p{margin:.3rem 0}a{color:inherit}
.state{border-left:.3rem solid var(--good);padding:.4rem .7rem;font-weight:600}
.state.bad{border-color:var(--warn);color:var(--warn)}
.soft{color:var(--soft)}
.scroll{overflow-x:auto}.scroll:focus-visible{outline:2px solid currentColor}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:.2rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem 1.4rem .3rem 0;
border-bottom:1px solid var(--line)}
thead th{font-weight:600}tbody th{font-weight:600;white-space:nowrap}
.n{text-align:right}
"""


def render(view: HomeView) -> str:
    """The whole page: HTML that needs no network, no script and no other file."""
    body = element(
        "body",
        element(
            "header",
            element("h1", "HushRec server"),
            element("p", headline(view), class_="state bad" if view.faults else "state"),
            element(
                "p", f"{view.home}, at {view.at:%Y-%m-%d %H:%M:%S} UTC. ",
                element("a", "Look again", href="/"), class_="soft",
            ),
        ),
        element("main", _runs(view), _newest(view), _members(view), _model(view), _rest(view)),
    )  # fmt: skip
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", "HushRec server"),
        element("style", Markup(_STYLE)),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _runs(view: HomeView) -> Markup:
    rows = [
        (
            run.name,
            run_words(run),
            " ".join(word for word in (run.solver, run.mode) if word),
            ago(run.changed_at, view.at),
            ", ".join(run.last.answered) or "nobody" if run.last else "–",
            refused_words(run.last),
        )
        for run in view.runs
    ]
    older = f" {view.older_runs} older ones are not shown." if view.older_runs else ""
    heads = ("Run", "How far", "What", "Changed", "Answered last", "Refused last")
    return _section("Runs", f"Trainings, newest first.{older}", heads, rows)


def _newest(view: HomeView) -> Markup | None:
    """The rounds of the newest run that has any."""
    run = next((run for run in view.runs if run.rounds), None)
    if run is None:
        return None
    rows = [round_words(record) for record in run.rounds[-_SHOWN:]]
    shown = f"The last {_SHOWN} rounds." if run.completed > _SHOWN else "All rounds."
    heads = ("Round", "Step", "Answered", "Refused", "Seconds", "Bytes received", "Noise (σ)")
    return join(
        [_section(f"Rounds of {run.name}", shown, heads, rows, numbers={4, 5, 6}), _totals(run)]
    )


_SHOWN: Final = 12


def _totals(run: RunView) -> Markup:
    names = sorted({*run.answered, *(name for name, _ in run.refused)})
    rows = [
        (
            name,
            count(run.answered[name]),
            ", ".join(
                f"{code} {times}"
                for (who, code), times in sorted(run.refused.items())
                if who == name
            )
            or "–",
        )
        for name in names
    ]
    words = f"Over all rounds of {run.name}: how often a release was used, and why not."
    return _section("Clients", words, ("Client", "Answered", "Refused"), rows, numbers={1})


def _members(view: HomeView) -> Markup:
    rows = [(one.name, member_words(one), ago(one.heard_at, view.at)) for one in view.members]
    words = "Clients that were added, and when their nodes were last heard of."
    return _section("Members", words, ("Client", "Node", "Heard of"), rows)


def _model(view: HomeView) -> Markup:
    if view.model is None:
        said = f"No model is promoted; {view.versions} could be."
    else:
        said = (
            f"Promotion {view.model.serial} is version {view.model.version}, "
            f"of {view.versions}; promoted {ago(view.model.promoted_at, view.at)}."
        )
    return element("section", element("h2", "Model"), element("p", said))


def _rest(view: HomeView) -> Markup:
    rows = [(one.name, certificate_words(one)) for one in view.certificates]
    words = "What clients see of the server, and what vouches for it."
    door = view.door
    since = f" since {door.since}" if door.since else ""
    said = f"Of the last {count(door.lines)} requests{since}, {count(door.refused)} from outside "
    return join(
        [
            _section("Certificates", words, ("Certificate", "Holds"), rows),
            element("h2", "At the door"),
            element("p", f"{said}were turned away."),
        ]
    )


def _section(
    title: str,
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: AbstractSet[int] = frozenset(),
) -> Markup:
    """A heading and a table whose first column names its rows."""
    lines = [element("tr", *_cells(row, numbers)) for row in rows]
    if not lines:
        return element("section", element("h2", title), element("p", "None."))
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *_heads(heads, numbers))),
        element("tbody", *lines),
    )
    scroll = element("div", table, class_="scroll", tabindex="0", role="region", aria_label=title)
    return element("section", element("h2", title), scroll)


def _heads(heads: Sequence[str], numbers: AbstractSet[int]) -> Iterable[Child]:
    for place, head in enumerate(heads):
        yield element("th", head, scope="col", class_="n" if place in numbers else None)


def _cells(row: Sequence[str], numbers: AbstractSet[int]) -> Iterable[Child]:
    first, *others = row
    yield element("th", first, scope="row")
    for place, text in enumerate(others, 1):
        yield element("td", text, class_="n" if place in numbers else None)
