"""The sentences of the report: what was promised, who gains, what to beware of."""

from __future__ import annotations

from typing import Final

from common.privacy.plan import Mode, Unit
from simulations.report.data import Estimate, Guarantee, ReportData, Serving, SizeGroup
from simulations.report.numbers import (
    big,
    count,
    epsilon_text,
    interval,
    metric_name,
    ratio,
    signed,
)

__all__ = [
    "METHOD_NAMES",
    "SERVINGS",
    "guarantee_paragraphs",
    "headline",
    "not_promised",
    "qualified_epsilon",
    "qualifier",
    "serving_sentence",
    "verdict",
    "verdicts",
    "warnings",
    "who_is_trusted",
]

METHOD_NAMES: Final[dict[str, str]] = {
    "joint": "Joint serving",
    "shop": "Shop serving",
    "alone": "Alone, exact",
    "popularity": "Popularity, exact",
    "noised-popularity": "Noised popularity",
    "random": "Random",
}
"""How the report calls each method."""

_UNITS: Final[dict[Unit, str]] = {
    "user": "Two data sets are neighbours if one has one more user, with that user’s whole "
    "history at the client. Whether somebody is among a client’s users at all, and "
    "everything they did there, is what is hidden.",
    "interaction": "Two data sets are neighbours if one has one more event of one user. Single "
    "events are hidden; a whole history is not.",
}

_TRUST: Final[dict[Mode, str]] = {
    "local": "Every client adds all the noise of its own releases before they leave it. The "
    "promise holds against the server, every other client, the network and the "
    "public: none of them is trusted. A client is trusted with its own users’ logs.",
    "distributed": "Every client adds a share of the noise and masks its sum; the server learns "
    "the totals of secure sums alone. The promise holds against the server, clients that "
    "collude with it up to the number below, the network and the public, as long as none of "
    "them can break the encryption. It needs clients that know each other’s keys by a way that "
    "does not pass through the server: each of them pins a roster of these keys in its policy. "
    "A client is trusted with its own users’ logs.",
    "none": "Nobody added noise. Everybody who sees what clients sent is trusted with it: the "
    "server, and through the shared model the other clients and the public.",
}

_SERVING: Final[dict[Serving, str]] = {
    "joint": "What a shopper is shown is a function of their own events, the "
    "public catalogue and released values. The guarantee also covers what other "
    "shoppers’ data can reveal through a recommendation.",
    "shop": "What a shopper is shown may also use this shop’s own logs, exactly. "
    "The guarantee covers everybody outside the shop, not shoppers of one shop against "
    "each other.",
}

SERVINGS: Final[tuple[Serving, ...]] = ("joint", "shop")
"""Both ways of serving, in order of display."""

_NEVER_PROMISED: Final = (
    "Timing and other side channels.",
    "A client that lies about its own data.",
    (
        "Anything about the exact figures on this page. They were computed from all the data of a "
        "simulation and are not a private release."
    ),
)
_SEVERAL: Final = (
    "A person with several accounts, or a shopper of several shops, counted as one: their "
    "budgets add up."
)
_SEVERAL_IN_ONE_SUM: Final = (
    "A person with several accounts, or a shopper of several shops, counted as one: the same "
    "totals move by each of them, which is worse than budgets that add up."
)
_TOO_MANY: Final = "Anything against a server that more clients collude with than the number above."
_ENDLESS: Final = (
    "No finite ε holds for what is in the ledger of at least one client: something left it "
    "without noise, in this run or before."
)
_NOT_AMONG_SHOPPERS: Final = (
    "Shoppers of one shop against each other, where shop serving is used.",
)


def qualifier(guarantee: Guarantee) -> str:
    """What every ε is said with: unit, neighbours, δ, accountant and mode."""
    return (
        f"{guarantee.unit} level, {guarantee.neighbouring} neighbouring, "
        f"δ = {big(guarantee.delta)}, {guarantee.accountant} accountant, {guarantee.mode} mode"
    )


def qualified_epsilon(guarantee: Guarantee) -> str | None:
    """`ε = 8 (user level, …)`, None where there is no guarantee."""
    if guarantee.epsilon is None:
        return None
    return f"ε = {epsilon_text(guarantee.epsilon)} ({qualifier(guarantee)})"


def headline(data: ReportData) -> str:
    """The result in two sentences, with its rivals."""
    chosen = data.estimate(data.serving)
    if chosen is None:  # ReportData makes sure of it
        return ""
    name = METHOD_NAMES[data.serving]
    rivals = [("alone", "shops that stay alone"), ("popularity", "plain popularity")]
    known = [(words, data.estimate(rival)) for rival, words in rivals]
    against = [f"{ratio(e.mean)} for {words}" for words, e in known if e is not None]
    sentence = (
        f"{name} reaches {metric_name(data.metric)} {ratio(chosen.mean)} "
        f"(95% interval {interval(chosen)})"
    )
    return sentence + (f", against {' and '.join(against)}." if against else ".")


def verdict(gain: Estimate) -> str:
    """What a gain with its interval allows to say."""
    if gain.low > 0:
        return "gain"
    return "lose" if gain.high < 0 else "no clear difference"


def verdicts(groups: tuple[SizeGroup, ...]) -> list[str]:
    """One sentence for each size of shop."""
    words = {"gain": "gain from joining", "lose": "lose by joining"}
    return [
        f"Shops of {group.label} "
        f"{words.get(verdict(group.gain), 'see no clear difference')}: "
        f"{signed(group.gain.mean)} (95% interval {interval(group.gain, sign=True)})."
        for group in groups
    ]


def guarantee_paragraphs(guarantee: Guarantee, *, seeded_noise: bool) -> list[str]:
    """The promise in words; what it would be, where the seed of the noise is known."""
    if guarantee.endless:
        return [f"This run gives no privacy guarantee. {_ENDLESS}"]
    if guarantee.epsilon is None:
        return [
            (
                "This run gives no privacy guarantee. It was asked for without privacy: clients "
                "sent exact sums, and the model can reveal what single users did."
            )
        ]
    terms = qualified_epsilon(guarantee)
    secret = " if the noise had come from a secret source," if seeded_noise else ""
    released = "The totals" if guarantee.mode == "distributed" else "Each client’s releases"
    return [
        (
            f"{released} of this run, all rounds together, "
            f"{'would be' if seeded_noise else 'are'} differentially private{secret} with {terms}, "
            "or less where the table says so."
        ),
        _UNITS[guarantee.unit],
        (
            f"Take somebody who {_adversary(guarantee)}. On two neighbouring data sets, the "
            "probability of any conclusion of theirs differs at most by the factor e to the power "
            f"of that first number, apart from a probability of δ = {big(guarantee.delta)}."
        ),
        (
            "Every client keeps the events of its releases in its own ledger, from which anybody "
            "who is shown it can compute the same figures again."
        ),
    ]


def _adversary(guarantee: Guarantee) -> str:
    terms = guarantee.terms
    if terms is None:
        return (
            "sees everything that a client sent, knows every other user and has any amount of "
            "computing power"
        )
    return (
        f"runs the server and up to {count(terms.colluders)} of the {count(terms.clients)} "
        "clients, sees everything that these are sent, knows every other user and cannot break "
        "the encryption (the promise is a computational one)"
    )


def who_is_trusted(guarantee: Guarantee) -> str:
    """Who has to be trusted in this mode."""
    terms = guarantee.terms
    if terms is None:
        return _TRUST[guarantee.mode]
    return (
        f"{_TRUST[guarantee.mode]} Here: {count(terms.clients)} clients are on the roster, a "
        f"total is made of at least {count(terms.threshold)} of them, and up to "
        f"{count(terms.colluders)} may collude with the server: the noise of the other "
        f"{count(terms.threshold - terms.colluders)} is enough for what is promised."
    )


def serving_sentence(serving: Serving) -> str:
    """What a way of serving protects."""
    return _SERVING[serving]


def not_promised(data: ReportData) -> tuple[str, ...]:
    """What the guarantee does not cover."""
    mode = data.guarantee.mode
    several = (_SEVERAL_IN_ONE_SUM, _TOO_MANY) if mode == "distributed" else (_SEVERAL,)
    among = _NOT_AMONG_SHOPPERS if mode != "none" else ()
    return _NEVER_PROMISED + several + among + data.guarantee.not_promised


def warnings(data: ReportData) -> list[tuple[str, str]]:
    """Warnings as (heading, sentence), the gravest first."""
    found = []
    if data.guarantee.mode == "none":
        found.append(("Not private", "Mode none: nothing in this run is protected by noise."))
    if data.guarantee.endless:
        found.append(("Not private", _ENDLESS))
    if data.seeded_noise and data.guarantee.mode != "none":
        found.append(
            (
                "Not private",
                (
                    "The noise came from a fixed seed, so whoever knows the seed can take it away. "
                    "Good for repeating an experiment, never for a release."
                ),
            )
        )
    if data.data.catalogue == "derived":
        found.append(
            (
                "Catalogue derived from events",
                (
                    "The list of items was read off the logs, which tells that somebody "
                    "bought each of them. A deployment needs a public product file."
                ),
            )
        )
    return found + [("Note", sentence) for sentence in data.warnings]
