"""The server's half of a secure sum: forward, add up, take the masks off the total."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from common.arrays import Words
from common.errors import Code
from common.privacy.roster import Roster, Terms
from common.secure_sum import masks
from common.secure_sum.checks import check_deal, check_reveal
from common.secure_sum.messages import (
    Agreement,
    AgreementList,
    KeyList,
    KeyOffer,
    Reveal,
    SealedShares,
    ShareList,
    ShareOffer,
    SurvivorList,
)
from common.secure_sum.refusals import refusal, require_enough
from common.secure_sum.statements import check_agreements, check_offers
from common.secure_sum.unmasking import Unmasking

__all__ = ["Collector"]


@dataclass
class Collector:
    """One session, at the server. Methods are called in order, one for each stage.

    A client that deviates ends the session with an error that names it; who is left out of a
    stage's list simply dropped out.

    Attributes:
        terms: threshold of the job.
        context: of the session.
        roster: if given, signatures are checked here too, and not as they come or by clients.
        wrong: after the total, whose secrets' shares did not fit, by who revealed them: one of
            the two lies, or two others together, and it does not show which.
    """

    terms: Terms
    context: str
    roster: Roster | None = None
    wrong: Mapping[str, tuple[str, ...]] = field(default_factory=dict, init=False)
    _offers: dict[str, KeyOffer] = field(default_factory=dict, init=False, repr=False)
    _deals: dict[str, ShareOffer] = field(default_factory=dict, init=False, repr=False)
    _added: set[str] = field(default_factory=set, init=False, repr=False)
    _words: Words | None = field(default=None, init=False, repr=False)

    def key_list(self, offers: Iterable[KeyOffer]) -> KeyList:
        """All offers, in order of name: the message of stage `shares`.

        Raises:
            SumError: `sum-threshold`, or `sum-peers`: one name or key twice, or with a roster,
                one not signed by it.
        """
        given = sorted(offers, key=lambda offer: offer.name)
        if self.roster is not None:
            check_offers(given, self.roster, self.context)
        self._offers = {offer.name: offer for offer in given}
        if len(self._offers) < len(given):
            raise refusal(Code.SUM_PEERS, "a client offered keys twice.", where="keys")
        require_enough(len(given), self.terms, where="keys")
        return KeyList(offers=tuple(given))

    def route(self, deals: Iterable[ShareOffer]) -> dict[str, ShareList]:
        """What each client that dealt receives, by its name: the messages of stage `masked`.

        Raises:
            SumError: `sum-threshold`, or `sum-share`: a client did not deal to exactly the
                others.
        """
        for deal in deals:
            self._check_deal(deal)
            self._deals[deal.name] = deal
        require_enough(len(self._deals), self.terms, where="shares")
        boxes: dict[str, list[SealedShares]] = {name: [] for name in self._deals}
        for name in sorted(self._deals):
            for sealed in self._deals[name].shares:
                if sealed.recipient in boxes:
                    boxes[sealed.recipient].append(sealed)
        return {name: ShareList(shares=tuple(box)) for name, box in boxes.items()}

    def add(self, name: str, words: Words) -> None:
        """Add masked words to the running total, which is all that is kept of them.

        Args:
            name: who sent them.
            words: integers modulo 2^32 or 2^64, of the same shape and type from everybody.

        Raises:
            SumError: `sum-stage`, the client dealt no shares, sent words before, or words of
                another shape or type than the others.
        """
        if name not in self._deals or name in self._added:
            message = f"{name} dealt no shares, or sent its words before."
            raise refusal(Code.SUM_STAGE, message, where=name)
        if self._words is None:
            self._words = words.copy(order="C")
        elif words.shape != self._words.shape or words.dtype != self._words.dtype:
            message = f"{name} sent words of another shape or type than the others."
            raise refusal(Code.SUM_STAGE, message, where=name)
        else:
            np.add(self._words, words, out=self._words)
        self._added.add(name)

    def survivors(self) -> SurvivorList:
        """Whose words were added: the message of stage `survivors`.

        Raises:
            SumError: `sum-threshold`.
        """
        require_enough(len(self._added), self.terms, where="masked")
        return SurvivorList(survivors=tuple(sorted(self._added)))

    def agreements(self, given: Iterable[Agreement]) -> AgreementList:
        """A threshold of signatures, in order of name: the message of stage `reveal`.

        Each client checks every one that it is sent, so it is sent no more than it takes.

        Raises:
            SumError: `sum-threshold`, or `sum-survivors`: one is not of a survivor, comes
                twice, or with a roster, is not under this list.
        """
        signed = sorted(given, key=lambda agreement: agreement.name)
        names = [agreement.name for agreement in signed]
        if len(set(names)) < len(names) or not set(names) <= self._added:
            message = "somebody signed twice, or is no survivor."
            raise refusal(Code.SUM_SURVIVORS, message, where="survivors")
        if self.roster is not None:
            check_agreements(signed, self.roster, self.context, sorted(self._added))
        require_enough(len(signed), self.terms, where="survivors")
        return AgreementList(agreements=tuple(signed[: self.terms.threshold]))

    def total(self, reveals: Iterable[Reveal]) -> Words:
        """The sum of the survivors' words modulo 2^k, the masks taken off.

        With more than a threshold of reveals, one wrong share of each secret does no harm; all
        that do not fit are in `wrong` afterwards. After `sum-share` it may be asked for again
        with other reveals.

        Raises:
            SumError: `sum-threshold`; `sum-share`, a client revealed for others than asked, or
                a secret does not come out as it was announced; `sum-stage`, for the second time.
        """
        given = {reveal.name: reveal for reveal in reveals}
        survivors = frozenset(self._added)
        unmasking = Unmasking(self.context, self._offers, self._deals, survivors)
        for reveal in given.values():
            check_reveal(reveal, unmasking.survivors, unmasking.dropped)
        require_enough(len(given), self.terms, where="reveal")
        if self._words is None:
            raise refusal(Code.SUM_STAGE, "the total was made before.", where="reveal")
        opened = unmasking.open([given[name] for name in sorted(given)], self.terms.threshold)
        self.wrong = opened.wrong
        total, self._words = self._words, None
        keys = opened.masks.values()
        adds = chain.from_iterable(one.subtracted for one in keys)
        masks.shift(total, adds, chain.from_iterable(one.added for one in keys))
        return total

    def _check_deal(self, deal: ShareOffer) -> None:
        if deal.name not in self._offers or deal.name in self._deals:
            message = f"{deal.name} offered no keys, or dealt before."
            raise refusal(Code.SUM_SHARE, message, where=deal.name)
        check_deal(deal, self._offers)
