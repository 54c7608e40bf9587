"""One session of a secure sum, at the server: five stages, each with who answered the last.

Whatever a client says is judged on its own: what does not fit drops that client, and the
others go on while they are at least a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from flwr.app import ArrayRecord, Message, RecordDict

from common.arrays import Words
from common.errors import Code, InboundError, ProtocolError, SumError
from common.privacy.heads import SignedHead
from common.privacy.inbound import ArraySpec, check_array
from common.privacy.plan import Release
from common.privacy.roster import Roster, Terms
from common.protocol import OK, SUM, CallBody, ReplyBody, SumCall, SumReply, Task
from common.protocol.sum_context import context_of
from common.secure_sum.checks import check_deal, check_reveal
from common.secure_sum.collector import Collector
from common.secure_sum.messages import Agreement, KeyOffer, Reveal, ShareOffer, Stage
from server.asking import Asking, error_of, log_refused
from server.roster import NO_ANSWER, Member
from server.seen import Recording
from server.sessions import Drop
from server.sum_judge import check_agreement, check_name, check_offer
from server.witness import Asked

__all__ = ["SumSession"]

_NAMED: Final = 3
"""Names in a line of the log."""
_UNOPENED: Final = (
    "could not open what a peer dealt to it: its own log names that peer, who may be to blame"
)


@dataclass
class SumSession:
    """One attempt at one sum.

    Of all words the server keeps the running total alone, however many clients there are; what
    Flower has in hand at once is Flower's.

    Attributes:
        asking: how clients are asked.
        task: what is summed.
        release: what the words must be.
        terms: threshold of the job.
        roster: of the job; who signs wrongly is dropped, and stops nobody else.
        timeout_seconds: how long each stage waits.
        recording: keeps what comes; None if nobody asked for that.
        context: of the session, in everything that clients sign.
        stage: how far it has come.
        dropped: how each client was lost so far.
        heads: of the ledgers of the clients whose words were counted.
        bytes_down: of all messages to clients, headers too.
        bytes_up: of all messages from them.
    """

    asking: Asking
    task: Task
    release: Release
    terms: Terms
    roster: Roster
    timeout_seconds: float = 3600.0
    recording: Recording | None = None
    context: str = field(init=False)
    stage: Stage = "keys"
    dropped: dict[str, Drop] = field(default_factory=dict)
    heads: dict[str, SignedHead] = field(default_factory=dict)
    bytes_down: int = 0
    bytes_up: int = 0
    _collector: Collector = field(init=False)
    _members: dict[str, Member] = field(default_factory=dict, init=False)
    _offers: dict[str, KeyOffer] = field(default_factory=dict, init=False)
    _keys: set[str] = field(default_factory=set, init=False)
    _deals: dict[str, ShareOffer] = field(default_factory=dict, init=False)
    _agreements: dict[str, Agreement] = field(default_factory=dict, init=False)
    _reveals: dict[str, Reveal] = field(default_factory=dict, init=False)
    _counted: dict[str, Member] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Begin with nothing but the context."""
        self.context = context_of(self.task, self.release)
        self._collector = Collector(self.terms, self.context)

    def run(self, members: Iterable[Member]) -> Words:
        """All stages, each with those who answered the one before.

        Args:
            members: who is asked for keys.

        Returns:
            The sum of the survivors' words modulo 2^k, `[rows, width]`.

        Raises:
            SumError: `sum-threshold`, too few are left; `sum-share`, the shares that came do
                not put a secret together, and it names whose.
            ArtifactError: another run has spoilt what was witnessed.
            DataError: a head that was seen, or a recording, cannot be written.
        """
        collector = self._collector
        self._members = {member.name: member for member in members}
        self._ask("keys", dict.fromkeys(self._members))
        keys = collector.key_list(self._offers.values())
        self._ask("shares", dict.fromkeys(self._offers, keys))
        self._ask("masked", collector.route(self._deals.values()))
        self.asking.sync()
        survivors = collector.survivors()
        self._ask("survivors", dict.fromkeys(survivors.survivors, survivors))
        agreed = collector.agreements(self._agreements.values())
        self._ask("reveal", dict.fromkeys(self._agreements, agreed))
        return self._total()

    @property
    def masked(self) -> bool:
        """Whether clients were asked for words: what these cost them is spent."""
        return self.stage not in {"keys", "shares"}

    @property
    def survivors(self) -> tuple[Member, ...]:
        """Whose words were counted, in order of name."""
        return tuple(self._counted[name] for name in sorted(self._counted))

    def _ask(self, stage: Stage, to: Mapping[str, CallBody | None]) -> None:
        """One stage: whoever does not answer as it should is dropped."""
        self.stage = stage
        members = [self._members[name] for name in sorted(to)]
        waiting = {member.name: NO_ANSWER for member in members}
        sizes = dict.fromkeys(waiting, 0)
        calls = self._calls(stage, [(member, to[member.name]) for member in members])
        group = str(self.task.step)
        for member, message in self.asking.answers(calls, SUM, group, self.timeout_seconds):
            code = self._heard(member, message)
            waiting[member.name] = code
            sizes[member.name] = 0 if message.has_error() else _size(message.content)
        lost = {name: code for name, code in waiting.items() if code != OK}
        self.dropped |= {name: Drop(stage=stage, code=code) for name, code in lost.items()}
        self.bytes_up += sum(sizes.values())
        where = f"step {self.task.step} ({self.release.step}), session {self.task.session}"
        log_refused(lost, f"is lost at stage {stage} of {where}")
        if stage == "masked":
            unopened = {name: code for name, code in lost.items() if code == Code.SUM_SHARE}
            log_refused(unopened, _UNOPENED)
        self._record(sizes)

    def _calls(
        self, stage: Stage, to: list[tuple[Member, CallBody | None]]
    ) -> Iterator[tuple[Member, RecordDict]]:
        witness = self.asking.witness
        bodies = [(body, self.asking.receipt(member)) for member, body in to]
        key = None if witness is None else witness.key
        copies = SumCall.of(self.task, self.context, stage).copies(bodies, key)
        for (member, _), records in zip(to, copies, strict=True):
            self.bytes_down += _size(records)
            yield member, records

    def _heard(self, member: Member, message: Message) -> str:
        """`ok` if a client said what it should, else a code."""
        if message.has_error():
            return error_of(message)
        try:
            reply = SumReply.from_records(message.content, self.stage)
            if reply.code != OK:
                return reply.code
            if reply.body is not None:
                return self._take(member.name, reply.body)
            return self._count(member, reply)
        except (SumError, InboundError, ProtocolError) as error:
            return str(error.code)

    def _take(self, name: str, body: ReplyBody) -> str:
        check_name(body, name)
        context, counted = self.context, self._counted
        match body:
            case KeyOffer():
                check_offer(body, self._keys, self.roster, context)
                self._keys |= {body.sharing_key, body.masking_key}
                self._offers[name] = body
            case ShareOffer():
                check_deal(body, sorted(self._offers))
                self._deals[name] = body
            case Agreement():
                check_agreement(body, counted, self.roster, context)
                self._agreements[name] = body
            case Reveal():
                check_reveal(body, counted, set(self._deals) - set(counted))
                self._reveals[name] = body
        return OK

    def _count(self, member: Member, reply: SumReply) -> str:
        """Add a client's words to the running total, once their head has been judged."""
        release, job_id = self.release, self.task.job.job_id
        if reply.words is None or release.shares is None:
            return str(Code.PROTOCOL_INVALID)
        kind = f"uint{release.shares.word_bits}"
        spec = ArraySpec((release.rows, release.width), max_abs=math.inf, dtype=kind)
        check_array("words", reply.words, spec)
        asked = Asked(job_id=job_id, step=self.task.step, session=self.task.session)
        code = self.asking.judge(member, asked, reply.head)
        if code != OK:
            return code
        self._collector.add(member.name, reply.words)
        self._counted[member.name] = member
        if reply.head is not None:
            self.heads[member.name] = reply.head
        if self.recording is not None:
            self.recording.words(member.name, reply.words)
        return OK

    def _total(self) -> Words:
        """The total; whose share does not fit a secret is recorded as lost, and was not needed."""
        words = self._collector.total(self._reveals.values())
        for name, owners in self._collector.wrong.items():
            self.dropped[name] = Drop(stage="reveal", code=Code.SUM_SHARE)
            what = f"reveals shares that do not fit, unless they were dealt so by {_some(owners)}"
            log_refused({name: Code.SUM_SHARE}, what)
        return words

    def _record(self, sizes: Mapping[str, int]) -> None:
        if self.recording is not None:
            self.recording.heard(
                self.stage,
                sizes,
                offers=self._offers,
                deals=self._deals,
                agreements=self._agreements,
                reveals=self._reveals,
            )


def _some(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} others" if more > 0 else "")


def _size(records: RecordDict) -> int:
    """Bytes of arrays and texts; 8 for whatever else is in a header."""
    size = 0
    for record in records.values():
        if isinstance(record, ArrayRecord):
            size += sum(len(array.data) for array in record.values())
        else:
            values = record.values()
            size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in values)
    return size
