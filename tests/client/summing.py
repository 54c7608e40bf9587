"""A server that sums securely over the shops of a run, stage by stage, through real messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from common.privacy.roster import Roster
from common.protocol import OK, SUM, CallBody, SumCall, SumReply, Task, Words
from common.protocol.sum_context import context_of
from common.schedule import schedule_of
from common.secure_sum.collector import Collector
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


@dataclass
class Session:
    """One session of one step; `shops` by name, all of one job.

    What went from and to the clients is kept, so that a test can send it again, or otherwise.
    """

    shops: dict[str, Any]
    step: int = 0
    number: int = 0
    inputs: dict[str, Any] | None = None
    offers: dict[str, KeyOffer] = field(default_factory=dict)
    deals: dict[str, ShareOffer] = field(default_factory=dict)
    words: dict[str, Words] = field(default_factory=dict)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    reveals: dict[str, Reveal] = field(default_factory=dict)

    @property
    def first(self) -> Any:
        return next(iter(self.shops.values()))

    @property
    def task(self) -> Task:
        inputs = self.first.inputs(self.step) if self.inputs is None else self.inputs
        return Task(self.first.job, self.step, inputs, self.number)

    @property
    def context(self) -> str:
        """Of the sum, as both sides derive it from the job."""
        return context_of(self.task, schedule_of(self.task.job).plan.releases[self.task.step])

    @property
    def collector(self) -> Collector:
        """A collector with everything that was said."""
        job = self.first.job
        roster = Roster.of(self.first.policy.roster)
        collector = Collector(job.terms, self.context, roster)
        if self.offers:
            collector.key_list(self.offers.values())
        if self.deals:
            collector.route(self.deals.values())
        for name, words in self.words.items():
            collector.add(name, words)
        return collector

    def call(self, stage: Stage, body: CallBody | None = None, **changes: Any) -> SumCall:
        """Signed by the run's server, whatever was changed."""
        call = SumCall.of(self.task, self.context, stage, body)
        return replace(call, **changes).signed(self.first.key)

    def ask(self, name: str, call: SumCall) -> SumReply:
        message = self.shops[name].send(call.to_records(), SUM)
        return SumReply.from_records(message.content, call.stage)

    def say(self, name: str, stage: Stage, body: CallBody | None = None, **ways: Any) -> SumReply:
        return self.ask(name, self.call(stage, body, **ways))

    @property
    def peers(self) -> KeyList:
        return Collector(self.first.job.terms, self.context).key_list(self.offers.values())

    def shares_for(self, name: str) -> ShareList:
        collector = Collector(self.first.job.terms, self.context)
        collector.key_list(self.offers.values())
        return collector.route(self.deals.values())[name]

    @property
    def survivors(self) -> SurvivorList:
        return SurvivorList(survivors=tuple(sorted(self.words)))

    @property
    def signed(self) -> AgreementList:
        return AgreementList(agreements=tuple(self.agreements[n] for n in sorted(self.agreements)))

    def body(self, name: str, stage: Stage) -> CallBody | None:
        """What an honest server sends to `name` in a stage."""
        if stage == "shares":
            return self.peers
        if stage == "masked":
            return self.shares_for(name)
        if stage == "survivors":
            return self.survivors
        return self.signed if stage == "reveal" else None

    def go(self, *stages: Stage, names: Iterable[str] | None = None) -> None:
        """Go through stages with everybody, or with `names`; all have to answer."""
        for stage in stages:
            chosen = list(self.shops if names is None else names)
            bodies = {name: self.body(name, stage) for name in chosen}
            for name in chosen:
                reply = self.say(name, stage, bodies[name])
                assert reply.code == OK, (stage, name, reply.code)
                self.take(name, stage, reply)

    def take(self, name: str, stage: Stage, reply: SumReply) -> None:
        kept: dict[str, dict[str, Any]] = {
            "keys": self.offers,
            "shares": self.deals,
            "masked": self.words,
            "survivors": self.agreements,
            "reveal": self.reveals,
        }
        kept[stage][name] = reply.words if stage == "masked" else reply.body

    def total(self) -> Words:
        """The total, put together from what was revealed."""
        collector = self.collector
        collector.survivors()
        collector.agreements(self.agreements.values())
        return collector.total(self.reveals.values())
