"""The sections about the run itself: its cost, its data, and how to repeat it."""

from __future__ import annotations

from simulations.report.charts import bar_rows, round_bars
from simulations.report.data import ReportData
from simulations.report.layout import figure, pair, section
from simulations.report.markup import Markup, element
from simulations.report.numbers import byte_size, count
from simulations.report.prose import qualifier
from simulations.report.tables import Row, pairs_table, table

__all__ = ["cost_section", "run_section"]

_MOST_ROWS = 12


def cost_section(data: ReportData) -> Markup:
    """Bytes by round and seconds by phase."""
    return section(
        "cost",
        "What it cost",
        pair(_traffic_figure(data), _traffic_table(data)),
        pair(_phase_figure(data), _phase_table(data)),
    )


def _traffic_figure(data: ReportData) -> Markup:
    up, down = (sum(getattr(t, way) for t in data.traffic) for way in ("up", "down"))
    most = max(max(t.up, t.down) for t in data.traffic)
    unit, size = next(
        (name, size)
        for name, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))
        if most >= size or size == 1.0
    )
    words = f"{byte_size(up)} up and {byte_size(down)} down in {len(data.rounds)} rounds."
    bars = [(t.up / size, t.down / size) for t in data.traffic]
    names = ("up, from clients", "down, to clients")
    picture = round_bars("bytes", "Bytes by round", words, data.rounds, bars, names, unit)
    return figure(picture, "Bytes by round", f"over all clients; {words}")


def _traffic_table(data: ReportData) -> Markup:
    shown = list(zip(data.rounds, data.traffic, strict=True))
    rest = shown[_MOST_ROWS:]
    rows = [Row(r, (byte_size(t.up), byte_size(t.down))) for r, t in shown[:_MOST_ROWS]]
    if rest:
        sums = (sum(t.up for _, t in rest), sum(t.down for _, t in rest))
        rows.append(Row(f"{len(rest)} more rounds", tuple(map(byte_size, sums))))
    total = (sum(t.up for t in data.traffic), sum(t.down for t in data.traffic))
    rows.append(Row("All", tuple(map(byte_size, total)), chosen=True))
    return table("Bytes over all clients", ["Round", "Up", "Down"], rows)


def _phase_figure(data: ReportData) -> Markup:
    rows = [(p.name, p.seconds, f"{p.seconds:.1f} s") for p in data.phases]
    words = "; ".join(f"{name} {seconds}" for name, _, seconds in rows)
    return figure(
        bar_rows("seconds", "Seconds by phase", words, rows), "Seconds by phase", "wall clock."
    )


def _phase_table(data: ReportData) -> Markup:
    rows = [Row(p.name, (f"{p.seconds:.1f}",)) for p in data.phases]
    rows.append(Row("All", (f"{sum(p.seconds for p in data.phases):.1f}",), chosen=True))
    return table("Wall-clock seconds", ["Phase", "Seconds"], rows)


def run_section(data: ReportData) -> Markup:
    """Data, settings, versions and seeds."""
    command = element("p", "Repeat it: ", element("code", data.command)) if data.command else None
    return section(
        "run",
        "The run",
        command,
        pair(_data_table(data), _config_table(data), even=True),
        pair(
            pairs_table("Versions", ("Part", "Version"), list(data.versions.items())),
            pairs_table("Seeds", ("Use", "Seed"), [(k, str(v)) for k, v in data.seeds.items()]),
            even=True,
        ),
    )


def _data_table(data: ReportData) -> Markup:
    about = data.data
    catalogue = {"product-file": "public product file", "derived": "derived from events"}
    pairs = [
        ("Source", about.source),
        ("Users", count(about.users)),
        ("Items", count(about.items)),
        ("Events", count(about.events)),
        ("From", about.first),
        ("To", about.last),
        ("Clients", about.partition),
        ("Catalogue", catalogue[about.catalogue]),
        ("Evaluated users", count(about.evaluated)),
        ("Left out, nothing held out", count(about.left_out)),
        ("Bad rows set aside", count(about.set_aside)),
    ]
    return pairs_table("Data, counted exactly: not a private release", ("What", "Value"), pairs)


def _config_table(data: ReportData) -> Markup:
    pairs = [(name, _setting(value)) for name, value in data.config.items()]
    private = data.guarantee.epsilon is not None
    caption = f"Settings; privacy at {qualifier(data.guarantee)}" if private else "Settings"
    return pairs_table(caption, ("Setting", "Value"), pairs)


def _setting(value: str | float | bool | None) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
