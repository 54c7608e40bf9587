"""A roster of clients and a server, that go through the stages of a secure sum in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from common.config import Settings
from common.errors import Code, SumError
from common.privacy.roster import Roster, Terms
from common.privacy.signing import SigningKey
from common.secure_sum.collector import Collector
from common.secure_sum.messages import (
    Agreement,
    AgreementList,
    KeyList,
    Reveal,
    ShareList,
    ShareOffer,
    SurvivorList,
)
from common.secure_sum.party import Party
from common.secure_sum.states import Agreed, Dealt, Masking, Offered


def another_process(said: Any) -> Any:
    """What is read from what was written: no stage remembers more than its JSON."""
    if isinstance(said, tuple):
        return tuple(map(another_process, said))
    assert isinstance(said, Settings)
    return type(said).load(json.loads(said.model_dump_json()))


class Session:
    """n clients called a, b, c... and what they keep; every stage takes those who answer."""

    def __init__(self, terms: Terms, label: str = "one", keys: Any = None) -> None:
        self.terms = terms
        self.names = [chr(ord("a") + index) for index in range(terms.clients)]
        self.keys = keys or {name: SigningKey.create() for name in self.names}
        self.roster = Roster.of({name: key.public for name, key in self.keys.items()})
        self.context = hashlib.sha256(label.encode()).hexdigest()
        self.parties = {name: self.party(name) for name in self.names}
        self.collector = Collector(terms, self.context, self.roster)
        self.offered: dict[str, Offered] = {}
        self.dealt: dict[str, Dealt] = {}
        self.masking: dict[str, Masking] = {}
        self.agreed: dict[str, Agreed] = {}

    def party(self, name: str) -> Party:
        return Party(name, self.keys[name], self.roster, self.terms, self.context)

    def again(self, label: str) -> Session:
        """Another session of the same clients."""
        return Session(self.terms, label, self.keys)

    def offer(self, names: Iterable[str] | None = None) -> KeyList:
        offers = []
        for name in self.names if names is None else names:
            offer, self.offered[name] = another_process(self.parties[name].offer())
            offers.append(offer)
        return another_process(self.collector.key_list(offers))

    def deal(self, peers: KeyList, names: Iterable[str] | None = None) -> dict[str, ShareList]:
        return self.collector.route(self.deals(peers, names))

    def deals(self, peers: KeyList, names: Iterable[str] | None = None) -> list[ShareOffer]:
        deals = []
        for name in self.offered if names is None else names:
            deal, self.dealt[name] = another_process(
                self.parties[name].deal(self.offered[name], peers)
            )
            deals.append(deal)
        return deals

    def open(self, name: str, shares: ShareList) -> Masking:
        masking = self.parties[name].open(
            self.offered[name], self.dealt[name], another_process(shares)
        )
        self.masking[name] = another_process(masking)
        return self.masking[name]

    def mask(self, boxes: Mapping[str, ShareList], words: Mapping[str, Any]) -> SurvivorList:
        for name, own in words.items():
            self.collector.add(name, self.open(name, boxes[name]).apply(own))
        return another_process(self.collector.survivors())

    def agree(self, survivors: SurvivorList, names: Iterable[str] | None = None) -> AgreementList:
        return another_process(self.collector.agreements(self.signed(survivors, names)))

    def signed(
        self, survivors: SurvivorList, names: Iterable[str] | None = None
    ) -> list[Agreement]:
        agreements = []
        for name in survivors.survivors if names is None else names:
            agreement, self.agreed[name] = another_process(
                self.parties[name].agree(self.masking[name], survivors)
            )
            agreements.append(agreement)
        return agreements

    def reveal(self, agreements: AgreementList, names: Iterable[str] | None = None) -> list[Reveal]:
        return [
            another_process(
                self.parties[name].reveal(self.masking[name], self.agreed[name], agreements)
            )
            for name in (self.agreed if names is None else names)
        ]

    def until_masked(self, words: Mapping[str, Any]) -> SurvivorList:
        """Everybody deals, those with words send them."""
        return self.mask(self.deal(self.offer()), words)

    def until_revealed(self, words: Mapping[str, Any]) -> list[Reveal]:
        return self.reveal(self.agree(self.until_masked(words)))


@pytest.fixture(scope="session")
def session() -> Callable[..., Session]:
    """Make a session: `session(clients, threshold, colluders)`."""
    return lambda clients, threshold, colluders=1, label="one": Session(
        Terms(clients, threshold, colluders), label
    )


@pytest.fixture(scope="session")
def code() -> Callable[[Callable[[], Any]], Code]:
    """The code with which a secure sum is refused."""

    def refused(action: Callable[[], Any]) -> Code:
        with pytest.raises(SumError) as caught:
            action()
        assert caught.value.where
        assert caught.value.remedy
        return caught.value.code

    return refused


def safe_terms(most: int) -> list[Terms]:
    """Every safe (n, t, c) up to n = `most`."""
    sizes = range(1, most + 1)
    return [
        Terms(n, t, c) for n in sizes for t in sizes for c in sizes if c < t <= n and 2 * t > n + c
    ]


@pytest.fixture(scope="session", name="safe_terms")
def safe_terms_fixture() -> Callable[[int], list[Terms]]:
    return safe_terms
