"""The sections about quality: against its rivals, by size of shop, by user and item."""

from __future__ import annotations

from simulations.report.charts import DotRow, SizePoint, dot_rows, size_chart
from simulations.report.data import Breakdown, Estimate, ListQuality, PrivateMetric, ReportData
from simulations.report.layout import NOT_PRIVATE, figure, pair, section
from simulations.report.markup import Markup, element, join
from simulations.report.numbers import count, interval, metric_name, ratio
from simulations.report.prose import (
    METHOD_NAMES,
    SERVINGS,
    qualified_epsilon,
    serving_sentence,
    verdict,
)
from simulations.report.prose import verdicts as size_verdicts
from simulations.report.tables import Row, estimate_cell, gain_cell, table

__all__ = ["breakdown_section", "gain_section", "lists_section", "quality_section"]


def quality_section(data: ReportData) -> Markup:
    """All methods beside each other, with intervals, and what clients released about it."""
    metric = metric_name(data.metric)
    rows = [DotRow(METHOD_NAMES[m.name], ((m.name, m.metrics[data.metric]),)) for m in data.methods]
    words = "; ".join(
        f"{row.label} {ratio(e.mean)} ({interval(e)})" for row in rows for _, e in row.points
    )
    chart = figure(
        dot_rows("quality", f"{metric} by method", words, rows),
        f"{metric} of each way to recommend",
        "bars are 95% intervals over users. Alone means that every shop trains on its own "
        "data, exactly, and releases nothing.",
    )
    return section(
        "quality",
        "Quality",
        NOT_PRIVATE,
        element("p", data.data.protocol),
        pair(chart, _methods_table(data)),
        _ratings_part(data) if data.ratings else None,
        *(
            element("p", element("strong", f"{METHOD_NAMES[way]}. "), serving_sentence(way))
            for way in SERVINGS
        ),
        _private_part(data) if data.private_metrics else None,
    )


def _methods_table(data: ReportData) -> Markup:
    names = list(data.methods[0].metrics)
    rows = [
        Row(
            METHOD_NAMES[m.name] + (" (chosen)" if m.name == data.serving else ""),
            tuple(estimate_cell(m.metrics.get(name)) for name in names),
            chosen=m.name == data.serving,
        )
        for m in data.methods
    ]
    caption = f"Mean over {count(data.data.evaluated)} users with a held-out item, 95% intervals"
    return table(caption, ["Method", *(metric_name(name) for name in names)], rows)


_PREDICTED_BY = {
    "joint": "Shared model, from a shopper's own ratings",
    "item-means": "Mean of the item, exact",
    "global-mean": "Mean of all ratings, exact",
}


def _ratings_part(data: ReportData) -> Markup:
    rows = [
        Row(_PREDICTED_BY[r.name], (ratio(r.rmse, 4), ratio(r.mae, 4)), chosen=r.name == "joint")
        for r in data.ratings
    ]
    caption = f"Errors on {count(data.ratings[0].rated)} held-out ratings: not a private release"
    return join(
        [
            element("h3", "Ratings"),
            element(
                "p",
                "The model was trained to predict ratings, not to find what comes next: its lists "
                "are ordered by the rating that it expects.",
            ),
            table(caption, ["Predicted by", "RMSE", "MAE"], rows),
        ]
    )


def _private_part(data: ReportData) -> Markup:
    epsilon = qualified_epsilon(data.guarantee)
    without = "not private" if data.guarantee.endless else "without noise, mode none"
    charged = f"charged within {epsilon}" if epsilon is not None else without
    return join(
        [
            element("h3", "What the clients themselves released about quality"),
            element(
                "p",
                "In a deployment these noised figures are all that anybody sees. The exact ones "
                "stand beside them only because this is a simulation. Both rank one held-out item "
                "of each user among all items, whatever the protocol above.",
            ),
            pair(_private_figure(data.private_metrics), _private_table(data, charged)),
        ]
    )


def _private_figure(metrics: tuple[PrivateMetric, ...]) -> Markup:
    rows = []
    for m in metrics:
        wide = 1.96 * m.noise_std
        released = Estimate(mean=m.released, low=m.released - wide, high=m.released + wide)
        exact = Estimate(mean=m.exact, low=m.exact, high=m.exact)
        rows.append(DotRow(metric_name(m.name), (("joint", released), ("alone", exact))))
    words = "; ".join(
        f"{metric_name(m.name)} released {ratio(m.released)}, exact {ratio(m.exact)}"
        for m in metrics
    )
    names = {"joint": "released", "alone": "exact, not a private release"}
    picture = dot_rows("private", "Released and exact metrics", words, rows, names=names)
    return figure(picture, "Released and exact", "bars are ±1.96 standard deviations of the noise.")


def _private_table(data: ReportData, charged: str) -> Markup:
    rows = [
        Row(metric_name(m.name), (ratio(m.released), ratio(m.noise_std, 4), ratio(m.exact)))
        for m in data.private_metrics
    ]
    columns = ["Metric", "Released", "Noise, std", "Exact: not a private release"]
    return table(f"Private metrics, {charged}", columns, rows)


def gain_section(data: ReportData) -> Markup:
    """Who gains from joining, by size of shop."""
    metric, names = (
        metric_name(data.metric),
        {k: METHOD_NAMES[k] for k in ("alone", "joint", "shop")},
    )
    groups = [
        SizePoint(
            g.users_per_shop, (("alone", g.alone), ("joint", g.joint), ("shop", g.served_shop))
        )
        for g in data.by_size
    ]
    shops = [
        (float(s.users), {"alone": s.alone, "joint": s.joint, "shop": s.served_shop})
        for s in data.shops
    ]
    sentences = size_verdicts(data.by_size)
    chart = figure(
        size_chart("gain", f"{metric} by size of shop", " ".join(sentences), groups, shops, names),
        f"{metric} by size of shop",
        "large marks are means over all users of shops of that size, with 95% intervals; "
        "small faint marks are single shops.",
    )
    return section(
        "gain",
        "Who gains from joining",
        NOT_PRIVATE,
        element(
            "p",
            "The honest rival is not a central model but the shop that stays alone: it uses its "
            "own data exactly and spends nothing.",
        ),
        element("ul", *(element("li", s) for s in sentences), class_="plain"),
        pair(chart, _gain_table(data)),
    )


def _gain_table(data: ReportData) -> Markup:
    rows = [
        Row(
            group.label,
            (
                gain_cell(group.gain, verdict(group.gain).split()[0]),
                *(estimate_cell(e) for e in (group.alone, group.joint, group.served_shop)),
                count(group.shops),
            ),
        )
        for group in data.by_size
    ]
    caption = (
        f"{metric_name(data.metric)} by size of shop. Gain is {data.serving} serving minus alone, "
        "paired over users, with 95% interval"
    )
    return table(caption, ["Size", "Gain", "Alone", "Joint", "Shop", "Shops"], rows)


def lists_section(data: ReportData) -> Markup:
    """Coverage and novelty of what is recommended."""
    charts = [
        _list_figure(
            "coverage", "Coverage", "share of the catalogue that is recommended to anybody", data
        ),
        _list_figure(
            "novelty",
            "Novelty",
            "in bits: mean of −log₂ of the popularity share of recommended items",
            data,
        ),
    ]
    return section(
        "range", "Range of the lists", NOT_PRIVATE, pair(*charts, even=True), _lists_table(data)
    )


def _list_figure(field: str, title: str, what: str, data: ReportData) -> Markup:
    values = [(item.name, float(getattr(item, field))) for item in data.lists]
    rows = [
        DotRow(METHOD_NAMES[name], ((name, Estimate(mean=v, low=v, high=v)),)) for name, v in values
    ]
    digits = 2 if field == "novelty" else 3
    words = "; ".join(f"{METHOD_NAMES[name]} {ratio(v, digits)}" for name, v in values)
    return figure(dot_rows(field, title, words, rows, digits=digits), title, f"{what}.")


def _lists_table(data: ReportData) -> Markup:
    def optional(value: float | None) -> str:
        return "–" if value is None else ratio(value)

    def row(item: ListQuality) -> Row:
        cells = (ratio(item.coverage), ratio(item.novelty, 2))
        return Row(
            METHOD_NAMES[item.name],
            (*cells, optional(item.gini), optional(item.diversity)),
            chosen=item.name == data.serving,
        )

    columns = ["Method", "Coverage", "Novelty, bits", "Gini of exposure", "Diversity"]
    caption = "Lists apart from hits. Diversity is 1 minus the mean pairwise cosine in a list"
    return table(caption, columns, [row(item) for item in data.lists])


_BY = {
    "activity": ("By activity of the user", "training events"),
    "popularity": ("By popularity of the item", "popularity of the held-out item"),
}


def breakdown_section(data: ReportData) -> Markup:
    """Quality by user activity and by item popularity."""
    parts = [_breakdown(b, data) for b in data.breakdowns if b.rows]
    return section("breakdown", "For whom, and for what", NOT_PRIVATE, *parts)


def _breakdown(breakdown: Breakdown, data: ReportData) -> Markup:
    title, what = _BY[breakdown.by]
    metric, kinds = metric_name(data.metric), list(breakdown.rows[0].values)
    rows = [
        DotRow(row.label, tuple((kind, row.values[kind]) for kind in kinds))
        for row in breakdown.rows
    ]
    words = "; ".join(
        f"{row.label}: " + ", ".join(f"{METHOD_NAMES[k]} {ratio(e.mean)}" for k, e in row.points)
        for row in rows
    )
    names = {str(kind): METHOD_NAMES[kind] for kind in kinds}
    chart = dot_rows(f"by-{breakdown.by}", f"{metric}: {title.lower()}", words, rows, names=names)
    cells = [
        Row(row.label, (count(row.users), *(estimate_cell(row.values[k]) for k in kinds)))
        for row in breakdown.rows
    ]
    columns = ["Class", "Users", *(METHOD_NAMES[kind].split(maxsplit=1)[0] for kind in kinds)]
    return join(
        [
            element("h3", title),
            pair(
                figure(chart, f"{metric}, {title.lower()}", f"in classes of {what}."),
                table(f"{metric} by {what}, 95% intervals", columns, cells),
            ),
        ]
    )
