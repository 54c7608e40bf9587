"""A recorded session in a terminal: a row for each client, a line for each thing to know."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table

from common.pages.numbers import MINUS, big, count
from common.secure_sum.messages import STAGES
from server.seen_view import ClientView, SessionView, TotalView
from server.uniform import Looks, Pair

__all__ = ["print_session"]

_COLUMNS: Final = (
    "p: the chance that uniform words look less even. words: as they came. bare: with every mask "
    "taken off that the server learns. others: the words of all other clients, added up."
)
_UNSHOWN: Final = (
    "What it cannot show: words under a mask that somebody knows look the same, and a server may "
    "record less than it gets. That nobody knows the masks follows from the protocol, which "
    "every client checks: see docs/guide/secure-sums.md."
)
_SMALL: Final = 1e-3
_LEAST: Final = 1e-16
"""Below this a p says no more than that it is small."""


def print_session(view: SessionView, recorded: list[tuple[int, int]]) -> None:
    """What the server received, and what it can make of it.

    Args:
        view: the session.
        recorded: step and session of everything that was recorded.
    """
    console = Console()
    if len(recorded) > 1:
        steps = sorted({step for step, _ in recorded})
        console.print(
            f"Recorded: {len(recorded)} sessions of steps {steps[0]} to {steps[-1]}. "
            "Choose one with --step.",
            soft_wrap=True,
        )
    _say(console, _headline(view))
    console.print(_received(view))
    if any(client.words is not None for client in view.clients):
        console.print(_looks(view))
    _say(console, *_meaning(view))
    for client in view.clients:
        if client.lost is not None:
            _say(console, _lost(client))
    _say(console, *(_total(view.total) if view.total is not None else [_no_total(view)]))
    _say(console, *_limits(view))


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _headline(view: SessionView) -> str:
    return (
        f"Secure sum of step {view.step} ({view.name}), session {view.session}: {view.outcome}. "
        f"{view.rows} × {view.width} words of {view.word_bits} bits; {len(view.survivors)} of "
        f"{view.roster} clients in it, threshold {view.threshold}, holds against the server and "
        f"{view.colluders} of them."
    )


def _received(view: SessionView) -> Table:
    table = Table(title="Bytes that each client sent", title_justify="left")
    table.add_column("client", no_wrap=True)
    for stage in STAGES:
        table.add_column(stage, justify="right", no_wrap=True)
    for client in view.clients:
        sizes = [client.received.get(stage) for stage in STAGES]
        table.add_row(client.client, *("" if size is None else count(size) for size in sizes))
    return table


def _looks(view: SessionView) -> Table:
    table = Table(title="How its words look", title_justify="left")
    table.add_column("client", no_wrap=True)
    for name in ("mean / 2^k", "largest / 2^k", "words p", "bare p", "others p"):
        table.add_column(name, justify="right", no_wrap=True)
    for client in view.clients:
        if client.words is not None:
            ps = [_p(looks) for looks in (client.words, client.bare, client.others)]
            table.add_row(client.client, *_size(client.words), *ps)
    if view.total is not None:
        total = view.total.words
        table.add_row("the total", *_size(total), _p(total), "", "")
    return table


def _size(looks: Looks) -> tuple[str, str]:
    return f"{looks.mean:.4f}", f"{looks.largest:.6f}"


def _p(looks: Looks | None) -> str:
    return "" if looks is None else _chance(looks.p)


def _chance(p: float) -> str:
    if p < _LEAST:
        return "< 10⁻¹⁶"
    return big(p) if p < _SMALL else f"{p:.3f}"


def _meaning(view: SessionView) -> list[str]:
    lines = [_COLUMNS]
    if view.smallest_p is not None and view.by_chance is not None:
        lines.append(
            f"The smallest p of {view.tests} is {_chance(view.smallest_p)}: uniform words have "
            f"one as small with a chance of {_chance(view.by_chance)}."
        )
    if view.pair is not None:
        lines.append(_pair(view.pair))
    return lines


def _pair(pair: Pair) -> str:
    return (
        f"Words of {pair.clients[0]} and {pair.clients[1]} go together most of {pair.pairs} "
        f"pairs: r = {big(pair.correlation)} over {count(pair.words)} words; by chance as much "
        f"or more: {_chance(pair.p)}."
    )


def _lost(client: ClientView) -> str:
    lost = client.lost
    if lost is None:
        return ""
    begin = f"{client.client} was lost at stage {lost.stage} ({lost.code})"
    if client.words is not None:
        return f"{begin}: its words are in the total all the same."
    if client.key_shares:
        return (
            f"{begin}: {client.key_shares} shares of its masking key were revealed, which take "
            "its masks off the others' words. None of its own words came."
        )
    return f"{begin}: nothing that depends on its data came."


def _total(total: TotalView) -> list[str]:
    adds = "add up to the total" if total.adds_up else "DO NOT ADD UP to the total"
    head = (
        f"The words, bare, {adds}: root mean square {big(total.root_mean_square)}, noise σ = "
        f"{big(total.noise_std)}, signal to noise {big(total.signal_to_noise)}. Largest entries:"
    )
    entries = [
        f"  row {one.row}, column {one.column}: {big(one.value)} ({_signed(one.sigmas)} σ)"
        for one in total.largest
    ]
    return [head, *entries]


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", MINUS)


def _no_total(view: SessionView) -> str:
    why = "was killed, or goes on" if view.outcome == "begun" else f"ended with {view.outcome}"
    return (
        f"No total: the session {why}. What the server has of it are masked words and, from stage "
        "reveal on, shares of what masks them: it may have made a total of its own."
    )


def _limits(view: SessionView) -> list[str]:
    if view.stands_out:
        return ["SOMETHING STANDS OUT: these words are not what masked words look like.", _UNSHOWN]
    total = "; the total does not" if view.total is not None else ""
    shown = "the words that the server recorded look like nothing, alone, together and with all"
    return [f"What this shows: {shown} that it was told{total}.", _UNSHOWN]
