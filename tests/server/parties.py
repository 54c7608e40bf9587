"""Clients of secure sums without data or ledger: the real protocol, over messages of Flower's."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from common.errors import HushRecError
from common.job import Job
from common.privacy.plan import Release
from common.privacy.roster import Roster, Terms
from common.privacy.shared_noise import natural, noise_std_of
from common.privacy.signing import SigningKey
from common.protocol import OK, SumCall, SumReply
from common.protocol.sum_context import context_of
from common.schedule import schedule_of
from common.secure_sum.messages import (
    AgreementList,
    KeyList,
    ShareList,
    Stage,
    SurvivorList,
)
from common.secure_sum.party import Party
from server.asking import Asking
from server.roster import Member
from server.sessions import Sessions
from server.sums import SecureSums, Summed

Tamper: TypeAlias = Callable[[str, SumCall, SumReply], SumReply | None]
"""Who was asked, what, and the honest answer in; what arrives out, None for silence."""


@dataclass
class PartyClient:
    """One client: answers each stage by the book; keeps its states in memory."""

    name: str
    key: SigningKey
    roster: Roster
    words: Any
    asked: list[SumCall] = field(default_factory=list)
    states: dict[str, Any] = field(default_factory=dict)

    def answer(self, call: SumCall) -> SumReply:
        self.asked.append(call)
        terms = call.job.terms
        assert terms is not None
        party = Party(self.name, self.key, self.roster, terms, call.context)
        try:
            return self._stage(party, call)
        except HushRecError as error:
            return SumReply(str(error.code))

    def _stage(self, party: Party, call: SumCall) -> SumReply:
        states = self.states
        match call.body:
            case None:
                states.clear()
                offer, states["offered"] = party.offer()
                return SumReply(OK, offer)
            case KeyList():
                deal, states["dealt"] = party.deal(states["offered"], call.body)
                return SumReply(OK, deal)
            case ShareList():
                release = schedule_of(call.job).plan.releases[call.step]
                assert context_of(call.task, release) == call.context
                states["masking"] = party.open(states["offered"], states["dealt"], call.body)
                return SumReply(OK, words=states["masking"].apply(self.words))
            case SurvivorList():
                signed, states["agreed"] = party.agree(states["masking"], call.body)
                return SumReply(OK, signed)
            case AgreementList():
                return SumReply(OK, party.reveal(states["masking"], states["agreed"], call.body))


class PartyGrid(Grid):
    """Delivers calls to clients in their order; what arrives may be tampered with."""

    def __init__(self, clients: Iterable[PartyClient]) -> None:
        self.clients = {position + 2: client for position, client in enumerate(clients)}
        self.tampering: Tamper = lambda _, __, reply: reply
        self.raw: Callable[[SumCall, Message], Message] = lambda _, answer: answer
        self.before: Callable[[SumCall], None] = lambda _: None
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid4())
            call = SumCall.from_records(message.content)
            self.before(call)
            client = self.clients[message.metadata.dst_node_id]
            reply = self.tampering(client.name, call, client.answer(copy.deepcopy(call)))
            if reply is None:
                continue
            yield self.raw(call, Message(reply.to_records(), reply_to=message))

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any: ...

    def create_message(self, *_: Any, **__: Any) -> Any: ...

    def get_node_ids(self) -> list[int]:
        return list(self.clients)

    def get_nodes(self) -> list[Any]:
        return []

    def push_messages(self, messages: Any) -> Any: ...

    def pull_messages(self, message_ids: Any) -> Any: ...


@dataclass(frozen=True)
class Federation:
    """Some clients with words of their own, and the sums that a server makes of them."""

    grid: PartyGrid
    job: Job
    roster: Roster
    folder: Path

    @classmethod
    def of(
        cls, folder: Path, clients: int, threshold: int, colluders: int = 1, items: int = 500
    ) -> Federation:
        keys = roster_keys(clients)
        roster = Roster.of({name: key.public for name, key in keys.items()})
        job = Job(
            job_id="1" * 32, catalogue_version="v", n_items=items, clients=clients,
            population=100 * clients, signal=100.0 * clients, mode="distributed", epsilon=8.0,
            delta=1e-4, solver="popularity", roster=roster.digest, threshold=threshold,
            colluders=colluders,
        )  # fmt: skip
        release = schedule_of(job).plan.releases[0]
        generator = np.random.default_rng(clients)
        party_clients = [
            PartyClient(name, keys[name], roster, small_words(generator, release)) for name in keys
        ]
        return cls(PartyGrid(party_clients), job, roster, folder)

    @property
    def release(self) -> Release:
        return schedule_of(self.job).plan.releases[0]

    @property
    def terms(self) -> Terms:
        assert self.job.terms is not None
        return self.job.terms

    @property
    def names(self) -> list[str]:
        return [client.name for client in self.grid.clients.values()]

    @property
    def members(self) -> list[Member]:
        clients = self.grid.clients.items()
        return [Member(client.name, node, 100) for node, client in clients]

    def client(self, name: str) -> PartyClient:
        return next(client for client in self.grid.clients.values() if client.name == name)

    def sums(self, **changes: Any) -> SecureSums:
        asking = Asking(self.grid, self.members, None)
        plain = SecureSums(asking, self.job, self.terms, Sessions(self.folder), self.roster)
        return replace(plain, **changes)

    def words_of(self, names: Iterable[str]) -> Any:
        """The oracle: what these clients' words come to."""
        return np.sum([self.client(name).words for name in names], axis=0, dtype=self.kind)

    @property
    def kind(self) -> Any:
        shares = self.release.shares
        assert shares is not None
        return np.dtype(f"uint{shares.word_bits}")


@functools.cache
def roster_keys(clients: int) -> dict[str, SigningKey]:
    """The same ones in every test, so that a job is planned once."""
    return {f"shop-{k + 1}": SigningKey.create() for k in range(clients)}


def small_words(generator: np.random.Generator, release: Release) -> Any:
    """What a client's quantised and noised sum looks like: small, of either sign."""
    assert release.shares is not None
    values = generator.normal(50, 1e4, (release.rows, release.width)).astype(np.int64)
    return values.view(np.uint64).astype(f"uint{release.shares.word_bits}")


def change(
    stage: Stage, names: Iterable[str], make: Callable[[SumReply], SumReply | None]
) -> Tamper:
    """Change what some clients answer in one stage."""
    chosen = set(names)
    return lambda name, call, reply: (
        make(reply) if call.stage == stage and name in chosen else reply
    )


def lose(stages: Mapping[str, Stage]) -> Tamper:
    """Silence from each of these clients, from its stage on."""
    return lambda name, call, reply: None if stages.get(name) == call.stage else reply


def total_of(made: Federation, **changes: Any) -> Summed:
    return made.sums(**changes).sum(0, {}, made.release)


def check_total(made: Federation, summed: Summed, survivors: list[str]) -> None:
    assert [member.name for member in summed.survivors] == survivors
    wanted = natural(made.words_of(survivors), made.release)
    assert np.array_equal(summed.total.values, wanted)
    assert summed.total.noise_std == noise_std_of(made.release, len(survivors))
    assert summed.total.population == 100.0 * len(survivors)
