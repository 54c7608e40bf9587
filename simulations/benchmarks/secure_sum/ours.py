"""One secure sum of ours, all clients and the server in one process, over the real messages.

Bodies become JSON and are parsed again, states are dumped and loaded between stages as they
are when each message is a new process, words are copied as bytes. Left out: Flower, disk,
guard, ledger and noise.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from common.config import Settings
from common.privacy.roster import Roster, Terms
from common.privacy.signing import SigningKey
from common.secure_sum.collector import Collector
from common.secure_sum.masks import Words
from common.secure_sum.messages import (
    Agreement,
    AgreementList,
    KeyList,
    KeyOffer,
    Reveal,
    ShareList,
    ShareOffer,
    Stage,
    SurvivorList,
)
from common.secure_sum.party import Party
from common.secure_sum.states import Agreed, Dealt, Masking, Offered
from simulations.benchmarks.secure_sum.clock import Clock, Seconds

__all__ = ["Federation", "Outcome", "Session", "most_gone", "usual_terms"]

_CONTEXT: Final = "c0" * 32
_Model = TypeVar("_Model", bound=Settings)


def usual_terms(clients: int) -> Terms:
    """A threshold of four fifths and a tenth of colluders, as scenarios have them."""
    return Terms(clients, threshold=math.ceil(0.8 * clients), colluders=max(1, clients // 10))


def most_gone(clients: int) -> int:
    """How many may drop out under the usual terms."""
    return clients - usual_terms(clients).threshold


@dataclass
class Outcome:
    """What a sum gave and took.

    Attributes:
        total: modulo 2^32.
        clocks: by side and stage; all clients of a stage together.
        traffic: bytes of all JSON, without words.
    """

    total: Words
    clocks: Mapping[tuple[str, Stage], Clock]
    traffic: int

    @property
    def seconds(self) -> Seconds:
        """Everything."""
        return sum((clock.seconds for clock in self.clocks.values()), Seconds(0.0, 0.0))

    def of(self, side: str) -> Seconds:
        """All stages of `clients` or of the `server`."""
        chosen = (clock.seconds for (who, _), clock in self.clocks.items() if who == side)
        return sum(chosen, Seconds(0.0, 0.0))


class Federation:
    """Clients with roster keys, made once: sessions after each other are as in deployment.

    Args:
        terms: clients, threshold and colluders.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        keys = {f"shop-{place:04}": SigningKey.create() for place in range(terms.clients)}
        self.roster = Roster.of({name: key.public for name, key in keys.items()})
        self.parties = {
            name: Party(name, key, self.roster, terms, _CONTEXT) for name, key in keys.items()
        }

    def session(self, words: Callable[[int], Words], gone: int = 0) -> Session:
        """One attempt at one sum.

        Args:
            words: of the client at a place.
            gone: how many clients, the last ones, fall silent after the stage of shares.
        """
        return Session(self, words, gone)


class Session:
    """All five stages, client after client; `Federation.session` makes it, `run` runs it."""

    def __init__(self, federation: Federation, words: Callable[[int], Words], gone: int) -> None:
        self.clocks: dict[tuple[str, Stage], Clock] = defaultdict(Clock)
        self._parties = federation.parties
        self._words = words
        self._server = Collector(federation.terms, _CONTEXT, federation.roster)
        self._names = list(federation.parties)
        self._staying = self._names[: len(self._names) - gone]
        self._disk: dict[str, str] = {}
        self._traffic = 0

    def run(self) -> Outcome:
        """All stages in order.

        Raises:
            SumError: a client or the server refused.
        """
        nothing = dict.fromkeys(self._names, "")
        offers = list(self._ask("keys", nothing, self._offer, KeyOffer))
        with self.clocks["server", "shares"]:
            to_all = dict.fromkeys(self._names, _sent(self._server.key_list(offers)))
        deals = list(self._ask("shares", to_all, self._deal, ShareOffer))
        with self.clocks["server", "masked"]:
            boxes = self._server.route(deals)
            to_each = {name: _sent(boxes[name]) for name in self._staying}
        self._add_words(to_each)
        with self.clocks["server", "survivors"]:
            to_all = dict.fromkeys(self._staying, _sent(self._server.survivors()))
        signed = list(self._ask("survivors", to_all, self._agree, Agreement))
        with self.clocks["server", "reveal"]:
            to_all = dict.fromkeys(self._staying, _sent(self._server.agreements(signed)))
        reveals = list(self._ask("reveal", to_all, self._reveal, Reveal))
        with self.clocks["server", "reveal"]:
            total = self._server.total(reveals)
        return Outcome(total, self.clocks, self._traffic)

    def _ask(
        self,
        stage: Stage,
        bodies: Mapping[str, str],
        client: Callable[[Party, str], Settings],
        kind: type[_Model],
    ) -> Iterator[_Model]:
        """Every client's answer to its body."""
        for name, body in bodies.items():
            with self.clocks["clients", stage]:
                reply = _sent(client(self._parties[name], body))
            with self.clocks["server", stage]:
                parsed = kind.model_validate_json(reply)
            self._traffic += len(body) + len(reply)
            yield parsed

    def _add_words(self, bodies: Mapping[str, str]) -> None:
        for place, (name, body) in enumerate(bodies.items()):
            self._traffic += len(body)
            masked = self._masked(self._parties[name], body, place)
            with self.clocks["server", "masked"]:
                self._server.add(name, masked)
            del masked  # or there would be two clients' words at a time

    def _masked(self, party: Party, body: str, place: int) -> Words:
        """Masked words as the server has them: read from a copy of their bytes."""
        words = self._words(place)
        with self.clocks["clients", "masked"]:
            sent = self._mask(party, body).apply(words).tobytes()
        with self.clocks["server", "masked"]:
            return np.frombuffer(sent, np.uint32).reshape(words.shape)

    def _offer(self, party: Party, body: str) -> KeyOffer:
        del body
        offer, offered = party.offer()
        self._keep(party, offered)
        return offer

    def _deal(self, party: Party, body: str) -> ShareOffer:
        peers = KeyList.model_validate_json(body)
        deal, dealt = party.deal(self._kept(party, Offered), peers)
        self._keep(party, dealt)
        return deal

    def _mask(self, party: Party, body: str) -> Masking:
        shares = ShareList.model_validate_json(body)
        offered, dealt = self._kept(party, Offered), self._kept(party, Dealt)
        masking = party.open(offered, dealt, shares)
        self._keep(party, masking)
        return masking

    def _agree(self, party: Party, body: str) -> Agreement:
        survivors = SurvivorList.model_validate_json(body)
        agreement, agreed = party.agree(self._kept(party, Masking), survivors)
        self._keep(party, agreed)
        return agreement

    def _reveal(self, party: Party, body: str) -> Reveal:
        agreements = AgreementList.model_validate_json(body)
        masking, agreed = self._kept(party, Masking), self._kept(party, Agreed)
        return party.reveal(masking, agreed, agreements)

    def _keep(self, party: Party, state: Settings) -> None:
        self._disk[f"{party.name} {type(state).__name__}"] = state.model_dump_json()

    def _kept(self, party: Party, kind: type[_Model]) -> _Model:
        return kind.model_validate_json(self._disk[f"{party.name} {kind.__name__}"])


def _sent(body: Settings) -> str:
    return body.model_dump_json()
