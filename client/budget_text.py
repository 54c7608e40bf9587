"""Budgets and plans in a terminal: one bar for each cap, one table, one line for each promise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.budget_view import BudgetView, Fit, Part, WindowView
from client.what_if import WhatIf, total_noise
from common.pages.numbers import big, count
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING, rounded_up
from common.privacy.plan import Release
from common.privacy.roster import Terms

__all__ = ["budget_bar", "print_budget", "print_plan"]

_WIDE: Final = 50
_MANY: Final = 10**9
"""Numbers that no release has: from here on their limit is not worth a word."""
_MARKS: Final = (("█", "red"), ("▓", "magenta"), ("▒", "yellow"), ("░", "green"))
"""Spent, reserved without bytes, held, left: told apart without colours too."""


def print_budget(view: BudgetView, found: Fit | None) -> None:
    """A client's budget, and whether a plan still fits."""
    console, policy = Console(), view.owner.policy
    modes = " or ".join(policy.modes)
    console.print(
        f"Client {view.owner.settings.name}, {view.today}: unit {policy.unit} ({NEIGHBOURING}), "
        f"mode {modes}.",
        markup=False,
    )
    if view.halted is not None:
        console.print(
            f"HALTED: somebody holds a later row, {view.halted.get('seq')}, of this ledger: it is "
            "an old copy and answers nothing.",
            style="bold red",
        )
    for window in view.windows:
        _print_window(console, window)
    console.print(_legend())
    for job in view.open_jobs:
        console.print(
            f"Open: job {job['job_id']} holds {job['held']} of {job['releases']} releases since "
            f"{job['admitted'][:10]}. End it with --close {job['job_id'][:8]}.",
            markup=False,
            soft_wrap=True,
        )
    _print_refused(console, view)
    if found is not None:
        _print_fit(console, view, found)


def budget_bar(window: WindowView, width: int = _WIDE) -> Text:
    """What counts towards a cap, as a bar of `width` characters."""
    shares = [part.share for part in (window.spent, window.without_bytes, window.held)]
    ends = (
        [min(sum(shares[: k + 1]), 1.0) for k in range(3)]
        if all(map(math.isfinite, shares))
        else [1.0] * 3
    )
    places = [*(_place(end, width) for end in ends), width]
    bar, last = Text(), 0
    for (mark, style), place in zip(_MARKS, places, strict=True):
        bar.append(mark * (place - last), style=style)
        last = place
    return bar


def print_plan(found: WhatIf, view: BudgetView | None, fits: Fit | None) -> None:
    """A plan, what it costs, and what it would do to a client's budget."""
    console, plan = Console(), found.plan
    terms = f"δ = {big(plan.delta)}, unit {plan.unit} ({NEIGHBOURING}), mode {plan.mode}"
    table = Table(title=f"Plan of {found.job.solver}; {terms}", title_justify="left")
    table.add_column("release", no_wrap=True)
    for name in ("σ/clip", "clip", "rate", "sums", "rows × columns", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    shares = math.fsum(release.share for release in plan.releases)
    for release in plan.releases:
        table.add_row(
            release.step,
            f"{release.noise_multiplier:.4g}",
            f"{release.clip_norm:g}",
            f"{release.sampling_rate:g}",
            count(release.steps),
            f"{count(release.rows)} × {release.width}",
            f"{release.share / shares:.1%}",
        )
    console.print(table)
    console.print(
        f"ε = {_epsilon(found.pld)} by {ACCOUNTANT}; ε = {_epsilon(found.by_filter)} by the "
        f"{found.filter.name}; both at {terms}. A client's cap must be at least the larger one.",
        markup=False,
    )
    for line in (*_about_clients(found), *_about_rows(plan.releases)):
        console.print(line, markup=False)
    console.print(
        f"Noise multiplier of the main release: {found.noise_multiplier:.4g}.", markup=False
    )
    if view is not None and fits is not None:
        for window in view.windows:
            _print_window(console, window)
        console.print(_legend())
        _print_fit(console, view, fits)


def _about_clients(found: WhatIf) -> Iterator[str]:
    """Whom it holds against, what several clients lose, how much noise is in a total."""
    terms, clients = found.job.terms, found.job.clients
    if terms is not None:
        yield (
            f"It holds against the server and up to c = {terms.colluders} colluding clients, where "
            f"at least t = {terms.threshold} of n = {clients} are in every sum."
        )
        yield _beyond(terms)
    if found.shops > 1:
        moved = "the sensitivity of one sum" if terms is not None else "the releases"
        value, how = found.for_shops
        yield (
            f"For a user of m = {found.shops} clients, m times {moved}: ε = {_epsilon(value)} by "
            f"{how} at δ = {big(found.plan.delta)}."
        )
    if clients > 1:
        yield _about_noise(clients, terms)


def _about_rows(releases: Sequence[Release]) -> Iterator[str]:
    """How rows are chosen, and how sure of it one can be, each way once."""
    found = {(r.selection, r.count_noise_std) for r in releases}
    for selection, noise in sorted(found, key=lambda one: one[1]):
        if selection is not None:
            yield (
                f"Rows are chosen, with {selection.share:.1%} of the budget of their releases: "
                f"those leave whose noised count is at least {selection.threshold:g}. The noise "
                f"of a count has a standard deviation of {big(noise)}."
            )


def _beyond(terms: Terms) -> str:
    """What more colluders than planned for would see."""
    most = terms.most_before_masks_fall
    more = (
        f"With more than c = {most} of them"
        if most == terms.colluders
        else "With c' > c of them t - c' shares of noise are left; with more than "
        f"2t - n - 1 = {most}"
    )
    return (
        f"{more} the masks of the other clients fall. Who was restored from a backup counts among "
        "those until it has a new roster key."
    )


def _about_noise(clients: int, terms: Terms | None) -> str:
    """Noise in the total of equal clients, beside the other mode's where that is known."""
    local = total_noise(clients, None)
    if terms is None:
        return (
            f"Noise in the total of {clients} equal clients: {local:.3g} times what one party with "
            "all the data would add (√n)."
        )
    here = total_noise(clients, terms)
    return (
        f"Noise in the total of {clients} equal clients: {here:.3g} times what one party with all "
        f"the data would add (√(n/h), h = t - c = {terms.honest}); in mode local {local:.3g} times "
        f"(√n). Whoever is taught by the total gains, by √h = {local / here:.3g}: most where many "
        "clients share the noise, next to nothing for two."
    )


def _print_window(console: Console, window: WindowView) -> None:
    console.print(
        f"{window.name}: ε = {_epsilon(window.in_force)} of {window.cap:g} by the {window.filter}, "
        f"δ = {big(window.delta)}",
        style="bold",
        markup=False,
        highlight=False,
    )
    bar = budget_bar(window)
    bar.append(f"  {window.left:.1%} left: a plan of ε = {_down(window.left_epsilon)}")
    if window.left_numbers < _MANY:
        bar.append(f", releases of {window.left_numbers:,} numbers at most")
    console.print(bar, soft_wrap=True)
    table = Table(box=None, padding=(0, 2), show_edge=False)
    for name in ("", "releases", "share of the cap", "ε alone"):
        table.add_column(name, justify="left" if not name else "right")
    parts = (
        ("spent", window.spent),
        ("reserved, never sent", window.without_bytes),
        ("held for open jobs", window.held),
    )
    for name, part in parts:
        table.add_row(name, *_cells(part))
    console.print(table)


def _cells(part: Part) -> tuple[str, str, str]:
    share = f"{part.share:.1%}" if math.isfinite(part.share) else "∞"
    return count(part.releases), share, _epsilon(part.epsilon)


def _legend() -> Text:
    words = ("spent", "reserved, never sent", "held for open jobs", "left")
    legend = Text()
    for (mark, style), name in zip(_MARKS, words, strict=True):
        legend.append(mark, style=style)
        legend.append(f" {name}   ")
    return legend


def _print_refused(console: Console, view: BudgetView) -> None:
    refused = dict(view.refused or {})
    if not refused:
        console.print("Nothing was refused.")
        return
    codes = ", ".join(f"{code} {n}" for code, n in sorted(refused.items()))
    console.print(f"Refused: {sum(refused.values())} ({codes}). The last:", markup=False)
    for one in view.last_refused:
        line = f"  {one['time'][:19]} {one['code']}: {one['detail']}"
        would_be = one["would_be"]
        if would_be is not None and would_be.get("bound") != "distance":
            then = would_be.get("epsilon_then")
            line += f" (ε would be {'∞' if then is None else _epsilon(float(then))})"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_fit(console: Console, view: BudgetView, found: Fit) -> None:
    policy = view.owner.policy
    console.print(
        f"Plan ({found.name}) fits {_times(found.plans, 'time')} as a whole, "
        f"{_times(found.rounds, 'round')} of it (a plan has {found.releases}).",
        markup=False,
    )
    for window in view.windows:
        then = found.epsilon_then[window.name]
        verdict = "refused" if window.name in found.refused_by else "admitted"
        console.print(
            f"  {window.name}: ε {_epsilon(window.in_force)} → {_epsilon(then)}, the cap is "
            f"{window.cap:g}: {verdict} (δ = {big(window.delta)}, unit {policy.unit}, "
            f"{window.filter})",
            markup=False,
            highlight=False,
        )


def _times(number: int, word: str) -> str:
    return f"{count(number)} {word}{'' if number == 1 else 's'}"


def _place(share: float, width: int) -> int:
    return max(0, min(width, round(share * width)))


def _epsilon(value: float) -> str:
    return f"{rounded_up(value, 3):g}" if math.isfinite(value) else "∞"


def _down(value: float) -> str:
    """What is left is never shown larger than it is."""
    return f"{math.floor(value * 1000) / 1000:g}"
