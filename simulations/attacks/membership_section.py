"""Membership inference in an audit report: the curve, the rates, and what could be seen."""

from __future__ import annotations

from simulations.attacks.membership import LIMITS, MembershipResult
from simulations.attacks.roc import Point
from simulations.attacks.roc_picture import roc_picture
from simulations.report.layout import NOT_PRIVATE, figure, pair, section
from simulations.report.markup import Markup, element
from simulations.report.numbers import big, count, epsilon_text, ratio
from simulations.report.tables import Row, table

__all__ = ["membership_section", "protection", "sight"]


def membership_section(result: MembershipResult, name: str = "membership") -> Markup:
    """The section of one attack.

    Args:
        result: what the attack found.
        name: of the section, unique in the page.
    """
    words = (
        f"Each curve is over {count(next(iter(result.curves.values())).members)} members and "
        "nearly as many others. Both axes are logarithmic: what counts is the left."
    )
    image = roc_picture(
        f"{name}-roc",
        "Members told from others",
        f"{words} {_in_words(result)}",
        list(result.curves.items()),
        result.promise,
    )
    return section(
        name,
        "Membership: was this user in the training data?",
        NOT_PRIVATE,
        element("p", _what(result)),
        pair(figure(image, "True positives against false positives", words), _table(result)),
        element("p", sight(result)),
        element("p", _limits(result), class_="soft"),
    )


def protection(result: MembershipResult) -> str:
    """`ε = 8.00 at δ = 0.00099`, or that there is none."""
    if result.promise is None:
        return "no privacy (mode none)"
    return (
        f"ε = {epsilon_text(result.promise.epsilon)} at δ = {big(result.promise.delta)}, "
        "one user added or removed, by PLD, mode local, at each client"
    )


def sight(result: MembershipResult) -> str:
    """What the attack could have seen at best."""
    roc = next(iter(result.curves.values()))
    words = (
        f"What could have been seen: an attack that named all {count(roc.members)} members and "
        f"none of the {count(roc.non_members)} others would show ε ≥ {result.visible_epsilon:.2f} "
        f"at 95%, whatever the truth; rates below {roc.lowest_fpr:.2g} mean nothing here."
    )
    if result.promise is not None:
        words += f" The promise allows an area of {ratio(result.promise.auc)} at most."
    return words


def _what(result: MembershipResult) -> str:
    settings = result.settings
    clients = "1 client" if settings.clients == 1 else f"{settings.clients} clients"
    return (
        f"{result.data}: {count(result.users)} users, each in the data of a model by the toss of "
        f"a coin; solver {settings.solver}, {clients}, {protection(result)}. The attacker "
        "knows every history and sees the published model. Trained by the real apps: "
        f"{result.models} models, each attacked once with the other {result.models - 1} as its "
        "shadows (LiRA, online, Carlini et al. 2022); or by one threshold for everybody on the "
        "mean score of a user's own items."
    )


def _in_words(result: MembershipResult) -> str:
    found = [f"{name}: area {roc.auc:.3f}" for name, roc in result.curves.items()]
    return "; ".join(found) + "."


def _table(result: MembershipResult) -> Markup:
    rows = []
    for name, roc in result.curves.items():
        cells: list[Markup | str] = [f"{roc.auc:.3f} ± {result.spread(name):.3f}"]
        points = {point.limit: point for point in result.points(name)}
        cells += [_rate(points.get(limit)) for limit in LIMITS]
        rows.append(Row(name, tuple(cells)))
    if result.promise is not None:
        allowed = {p.limit: result.allowed(p) for p in result.points(next(iter(result.curves)))}
        at = [allowed.get(limit) for limit in LIMITS]
        most = [ratio(result.promise.auc), *("–" if v is None else ratio(v) for v in at)]
        rows.append(Row("the promise allows", tuple(most), chosen=True))
    rows.append(Row("chance", (ratio(0.5), *(ratio(limit) for limit in LIMITS))))
    return table(
        "Area under the curve (± its standard deviation over targets), and true-positive rates "
        "with 95% intervals of Clopper and Pearson",
        ["Attack", "Area", *(f"At FPR {limit:.1%}" for limit in LIMITS)],
        rows,
    )


def _rate(point: Point | None) -> Markup | str:
    if point is None:
        return "too few others"
    low, high = point.tpr.interval
    words = f"{ratio(low)}–{ratio(high)}"
    return element("td", ratio(point.tpr.rate), element("span", words, class_="ci"))


def _limits(result: MembershipResult) -> str:
    words = (
        "The intervals treat pairs of user and model as independent, though the users of one "
        "model share its noise: they describe, they do not bound. Another attack may see more, "
        "and a server sees every release, not the finished model alone."
    )
    if result.promise is None:
        return f"{words} Without privacy nothing limits what an attack may find."
    return f"{words} A curve far below what is allowed is no stronger promise."
