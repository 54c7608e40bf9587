"""Reconstruction in an audit report: what one release told about users' items."""

from __future__ import annotations

from simulations.attacks.reconstruction import (
    CHANCE,
    POPULARITY,
    RELEASE,
    RELEASE_AND_POPULARITY,
    ReconstructionResult,
)
from simulations.report.layout import NOT_PRIVATE, section
from simulations.report.markup import Markup, element
from simulations.report.numbers import big, count, epsilon_text, ratio
from simulations.report.tables import Row, table

__all__ = ["reconstruction_section", "sight"]

_NAMES = {
    RELEASE: "the release alone",
    RELEASE_AND_POPULARITY: "the release and what is popular",
    POPULARITY: "what is popular among the others, no release",
    CHANCE: "chance",
}


def reconstruction_section(result: ReconstructionResult, name: str = "reconstruction") -> Markup:
    """The section of one attack.

    Args:
        result: what the attack found.
        name: of the section, unique in the page.
    """
    return section(
        name,
        "Reconstruction: which items did a user have?",
        NOT_PRIVATE,
        element("p", _what(result)),
        _table(result),
        element("p", sight(result)),
    )


def sight(result: ReconstructionResult) -> str:
    """What the attack could have seen at best."""
    needed = f"{result.bits_needed:.0f} bits name the items"
    if result.bits_released is None or result.allowed_precision is None:
        return f"What could have been seen: everything, there is no noise ({needed})."
    return (
        f"What could have been seen: one release of this step holds {result.bits_released:.2g} "
        f"bits about a user at most ({needed}), and its promise, μ = {big(result.mu or 0.0)}, "
        f"allows a precision of {ratio(result.allowed_precision)} to whoever reaches that of the "
        "best guess without it."
    )


def _what(result: ReconstructionResult) -> str:
    settings = result.settings
    noise = (
        "without privacy (mode none)"
        if settings.epsilon is None
        else f"at ε = {epsilon_text(settings.epsilon)} and δ = {big(result.delta)} for the whole "
        "job, one user added or removed, by PLD, mode local, at each client"
    )
    return (
        f"{result.data}: step {result.step} of solver {settings.solver}, {noise}. The attacker "
        f"knows everything but one of the client's {count(result.users)} users: what the server "
        f"sent, all other histories, and how many items are looked for "
        f"({result.history:.1f} of {count(result.items)} on average). They take the others out "
        f"of one release of the real client, and look for the history that fits what remains. "
        f"{settings.releases} releases, {settings.targets} users in each."
    )


def _table(result: ReconstructionResult) -> Markup:
    rows = []
    for name, success in result.success.items():
        values = success.to_json()
        cells = tuple(
            element("td", ratio(values[key]), _error(values[f"{key}_error"]))
            for key in ("precision", "average_precision")
        )
        rows.append(Row(_NAMES[name], cells, chosen=name == RELEASE_AND_POPULARITY))
    return table(
        "Precision: share of the |history| best items that are the user's. Average precision: "
        "mean over the user's items of the precision down to each, over |history|. Means over "
        "releases with their standard errors",
        ["Ranked by", "Precision", "Average precision"],
        rows,
    )


def _error(value: float) -> Markup:
    return element("span", f"± {value:.3f}", class_="ci")
