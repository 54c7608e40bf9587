"""The statement as HTML: prose, one table, a place for a signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from common.audit.statement import Line, Statement
from common.audit.statement_style import STYLE
from common.pages.markup import Markup, element, join
from common.pages.numbers import big, count, epsilon_text
from common.privacy.concentrated import CONCENTRATED
from common.privacy.plan import Mode, Unit
from common.privacy.policy import Serving

__all__ = ["render_statements"]

_UNITS: Final[dict[Unit, str]] = {
    "user": "What is hidden is one user, with everything they ever did here: whether they are "
    "among the users at all, and each of their events. Two data sets are neighbours if one has "
    "one user more ({neighbouring}). A person with several accounts counts once for each.",
    "interaction": "What is hidden is a single event of one user, not their whole history. Two "
    "data sets are neighbours if one has one event more ({neighbouring}).",
}
_MODES: Final[dict[Mode, str]] = {
    "local": "Mode local: this client adds all the noise itself, before anything leaves it. The "
    "operator of the server, other clients, the network and the public are trusted with "
    "nothing; the operator only with keeping the service running. This client is trusted with "
    "its own users’ events, and with its own computers.",
    "distributed": "Mode distributed: this client adds a share of the noise and masks what it "
    "sends, so that the server learns totals alone. That holds against the server and up to c "
    "clients together, with t or more in each total ({terms}). It rests on keys exchanged without "
    "the server, on t − c honest clients in each total that add their shares, as this one does, "
    "and on X25519, Ed25519 and AES.",
    "none": "Mode none is allowed by the policy: exact sums may leave without noise, past every "
    "limit below, and whoever sees them is trusted with everything that they tell.",
}
_SERVING: Final[dict[Serving, str]] = {
    "joint": "joint: a recommendation, whatever kind of model it is made by, depends on the "
    "shopper’s own events, the public catalogue and released values alone, so the figures above "
    "also cover what other shoppers’ data can reveal through it.",
    "shop": "shop: a recommendation may also depend on this shop’s own log, exactly. The figures "
    "above cover everybody outside the shop, not shoppers of this shop against each other.",
}
_NOT_PROMISED: Final = (
    "Timing, absence, failure and other side channels: reduced, not excluded.",
    "Anything about a client that lies about its own data or its declared number of users.",
    "A shopper identified by being recommended something rare, by a model without privacy.",
    "What is true of people in general, and so of each, whether they are in the data or not.",
)
_LEAGUE: Final = (
    "Mode distributed where over c clients are in league with the server, or add no noise."
)
_AMONG_SHOPPERS: Final = "Shoppers of this shop against each other, under shop serving."


def render_statements(statements: Sequence[Statement]) -> str:
    """One page for each statement, in one file that needs no network and no script."""
    title = "Privacy statement" + (f" of {statements[0].client}" if len(statements) == 1 else "s")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    body = element("body", element("main", *(_page(one) for one in statements)))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _page(one: Statement) -> Markup:
    return element(
        "article",
        element("h1", f"Privacy statement of {one.client}"),
        element(
            "p",
            f"{one.date}. Data set {one.dataset_id}; users of this client, declared as "
            f"{count(one.population)}. Made by HushRec from the client’s own policy and ledger.",
            class_="sub",
        ),
        *_warnings(one),
        element("h2", "Who is protected, and from whom"),
        *(element("p", words) for words in _protected(one)),
        element("h2", "How much is let out"),
        _table(one),
        *(element("p", words) for words in _meaning(one)),
        *_part("What attacks showed", _attacks(one)),
        *_part("What a shopper may be shown", [f"Serving {_SERVING[one.serving]}"]),
        element("h2", "What is not promised"),
        element("ul", *(element("li", words) for words in _not_promised(one))),
        element("h2", "How to check this"),
        _check(one),
        _signature(),
        aria_label=f"Statement of {one.client}",
    )


def _part(heading: str, sentences: Sequence[str]) -> list[Markup]:
    if not sentences:
        return []
    return [element("h2", heading), element("p", " ".join(sentences))]


def _warnings(one: Statement) -> list[Markup]:
    found = []
    if not one.promised:
        found.append(
            "Nothing is promised: something left this client without noise, or with noise that "
            "a known seed decides."
        )
    if one.findings:
        s = "" if one.findings == 1 else "s"
        found.append(f"The audit has {one.findings} finding{s}: read its report before you sign.")
    return [element("p", words, class_="warn", role="note") for words in found]


def _protected(one: Statement) -> list[str]:
    servers = len(one.servers)
    asks = (
        "Any server that reaches this client may ask; it gets nothing beyond the limits below."
        if servers == 0
        else f"Only {servers} server{'' if servers == 1 else 's'}, known by key, may ask."
    )
    unit = _UNITS[one.unit].format(neighbouring=one.neighbouring)
    modes = [_MODES[mode].format(terms=_terms(one)) for mode in one.modes]
    return [unit, " ".join([*modes, asks]), _several(one)]


def _terms(one: Statement) -> str:
    """Terms of the sums that were made; before the first, what the policy asks for."""
    if not one.sums:
        return f"n = {one.roster} on the roster, c = {one.colluders} or more, 2t > n + c"
    said = (
        f"n = {t.clients}, t = {t.threshold}, c = {t.colluders}, masks fall above 2t − n − 1 = "
        f"{t.most_before_masks_fall}"
        for t in one.sums
    )
    return "; or ".join(said)


def _several(one: Statement) -> str:
    secure = "distributed" in one.modes
    if one.shops == 1:
        words = (
            "The policy declares that nobody is a user of more than one client of a federation "
            "(m = 1). Whoever is loses as much at each"
        )
        return words + (", and more where one secure sum is of both." if secure else ".")
    declared = (
        f"The policy declares that nobody is a user of more than m = {one.shops} clients of a "
        "federation."
    )
    said = [declared]
    if one.modes != ("distributed",):
        said.append("What they lose at each adds up, and is given for both, if all release alike.")
    if secure:
        said.append(
            "They move one secure sum m times as far: its figure is of m times the sensitivity, "
            "and follows from no limit (–)."
        )
    return " ".join(said)


def _table(one: Statement) -> Markup:
    several = one.shops > 1
    heads = ["Released", "ε, user of this client", "δ"]
    heads += [f"ε, user of {one.shops} clients", "δ"] if several else []
    lines = [*one.plans, *([one.together] if one.together is not None else [])]
    rows = [_row(line, several=several) for line in lines]
    caps = [one.lifetime, *one.periods]
    rows += [_row(line, several=several, cap=True) for line in caps]
    loose = several and any(line.shops_how == CONCENTRATED for line in lines)
    also = " or concentrated DP" if loose else ""
    caption = (
        f"Unit {one.unit}, {one.neighbouring}, mode {' or '.join(one.modes)}. Lines in bold are "
        f"limits that nothing gets past, enforced by the {one.filter} however plans are chosen; "
        f"the others are computed (PLD, pessimistic{also}), over several plans as if all had been "
        "fixed in advance."
    )
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *(element("th", name, scope="col") for name in heads))),
        element("tbody", *rows),
    )
    return element("div", table, class_="scroll")


def _row(line: Line, *, several: bool, cap: bool = False) -> Markup:
    cells = [(line.epsilon, line.delta)]
    nothing = "–" if cap else "none holds"
    if several:
        cells.append((line.shops_epsilon, line.shops_delta))
    what = f"{line.what}, at most" if cap else line.what
    return element(
        "tr",
        element("th", what, scope="row"),
        *(
            element("td", words)
            for value, delta in cells
            for words in (
                nothing if value is None else epsilon_text(value),
                nothing if value is None and cap else big(delta),
            )
        ),
        class_="cap" if cap else None,
    )


def _meaning(one: Statement) -> list[str]:
    words = (
        "ε bounds by which factor, e to the power of ε, anybody’s conclusion about one user can "
        f"become more or less likely by that user’s data; δ = {big(one.delta)} bounds the "
        "probability of outcomes for which it does not."
    )
    if one.guess is None:
        return [words + (" Nothing has been released yet." if one.together is None else "")]
    general, gaussian = one.guess
    words += (
        " Somebody who guesses with even odds whether a user’s data were used, knows everybody "
        f"else’s and sees all that was released so far, is right at most {_percent(general)} of "
        "the time"
    )
    if gaussian is not None:
        words += f"; with the Gaussian noise that was used, {_percent(gaussian)}"
    return [f"{words}."]


def _percent(share: float) -> str:
    """Rounded up to a tenth."""
    return f"{min(-(-share * 1000 // 1) / 10, 100.0):.1f}%"


def _attacks(one: Statement) -> list[str]:
    if not one.bounds:
        return ["None was tried for this statement."]
    said = [f"{bound.name}: {bound.words}" for bound in one.bounds]
    shares = " and the noise of t − c shares alone" if one.sums else ""
    return [f"On synthetic users, with the settings of the run that was audited{shares}.", *said]


def _not_promised(one: Statement) -> list[str]:
    return [
        *_NOT_PROMISED,
        *([_LEAGUE] if "distributed" in one.modes else []),
        *([_AMONG_SHOPPERS] if one.serving == "shop" else []),
    ]


def _check(one: Statement) -> Markup:
    seen = (
        "no server’s countersignature is at hand, so that rows cut off at its end would not show"
        if one.receipts == 0
        else f"{one.receipts} server{'' if one.receipts == 1 else 's'} countersigned a head of it"
    )
    return join(
        [
            element(
                "p",
                f"The ledger has {count(one.rows)} rows, chained by their hashes; {seen}. Compare "
                "the head and the key with those that the client gave you by another way; "
                "“hushrec audit export” and “hushrec audit verify” check every row.",
            ),
            element("p", "Head ", element("code", one.head), " by key ", element("code", one.key)),
        ]
    )


def _signature() -> Markup:
    places = (
        "Place, date",
        "Name, office",
        "I have read what is promised and what is not. Signature",
    )
    return element("div", *(element("p", words) for words in places), class_="sign")
