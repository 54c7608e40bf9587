"""The stages of secure sums, each under its rules and on disk before it is answered.

Guarantee:
    A stage of a session has one answer, whatever is asked, in however many processes, after
    whatever crash: the states are on disk before anything is sent, and the ledger, which
    survives the loss of the states, holds the masked words and the list of survivors that was
    agreed to. Words leave under masks alone, charged as any release; nothing else that is said
    depends on data. A client agrees to a total only if its own words are in the ledger, to one
    list for each session, and gives shares for that list alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from flwr.app import RecordDict
from pydantic import ValidationError

from client.guard.admission import another_job, check_admitted
from client.guard.alone import alone
from client.guard.guard import Guard
from client.guard.releasing import charge_of, key_of
from client.guard.sum_rules import check_way, party_of
from client.ledger_store import Key
from client.roster_key import load_roster_key
from client.sum_store import (
    FARTHEST,
    Begun,
    Kept,
    SumStore,
    out_of_order,
    session_is_far,
    session_is_over,
)
from client.training import ComputeWords
from common.artifacts import arrays_from_bytes, arrays_to_bytes
from common.config import Settings
from common.errors import Code, ProtocolError, SumError
from common.privacy.heads import SignedHead
from common.privacy.shared_noise import SharedSum, shared_mechanism_for
from common.privacy.stream import NoiseSource
from common.protocol import OK, ReplyBody, SumCall, SumReply
from common.protocol.sum_context import context_of
from common.schedule import Schedule
from common.secure_sum.messages import AgreementList, KeyList, ShareList, Stage, SurvivorList
from common.secure_sum.party import Party
from common.secure_sum.states import Agreed, Dealt, Masking, Offered

__all__ = ["SumCheck", "SumGuard"]

SumCheck: TypeAlias = Callable[[Schedule], ComputeWords]
"""Checks what a call brings, without looking at data, and returns what computes the words."""

_WORDS: Final = "words"
_Body = TypeVar("_Body", bound=Settings)
_State = TypeVar("_State", bound=Settings)


class SumGuard(Guard):
    """A guard that also takes part in secure sums. Use as a context manager."""

    def read_call(self, records: RecordDict) -> SumCall:
        """The call in a message.

        Raises:
            HushRecError: it is refused before, or cannot be read.
        """
        self.look(records)
        with self.refusing(known=False):
            return SumCall.from_records(records)

    def answer_call(self, call: SumCall, check: SumCheck) -> SumReply:
        """Answer one stage: what was said before, or what the stage says now.

        Raises:
            HushRecError: refused; a `refuse` row says why. Nothing was reserved, unless the
                computation of the words itself failed.
        """
        self._let_in(call)
        with self.refusing(call):
            check_way(call.job, in_sums=True)
            self._check_job(call.job)
            name, key = self._store.settings.name, load_roster_key(self._store.folder)
            party = party_of(self._policy, call, name, key)
        with alone(self._store.ledger_path):
            with self.refusing(call):
                states = SumStore.open(
                    self._store.folder,
                    survives_power_cut=not self._store.settings.simulated,
                    now=None if self._clock is None else self._clock(),
                )
            with states:
                return self._stage(call, party, states, check)

    def _stage(self, call: SumCall, party: Party, states: SumStore, check: SumCheck) -> SumReply:
        with self.refusing(call):
            self._hold_to(states)
        if call.stage == "masked":
            return self._masked(call, party, states, check)
        with self.refusing(call):
            kept = self._kept(call, states)
            if kept is not None:
                return _again(call, kept)
            if call.stage == "keys":
                return self._keys(call, party, states)
            if call.stage == "shares":
                return self._shares(call, party, states)
            if call.stage == "survivors":
                return self._survivors(call, party, states)
            return self._reveal(call, party, states)

    def _keys(self, call: SumCall, party: Party, states: SumStore) -> SumReply:
        """New keys, if the sum is allowed and could be paid for now; nothing is charged."""
        key, schedule = key_of(call), self._allowed(call)
        mechanism = shared_mechanism_for(schedule.plan, call.step, NoiseSource.system())
        self._afford(key, call.request_hash, schedule, charge_of(mechanism))
        offer, offered = party.offer()
        kept = Kept(call.request_hash, offered.model_dump_json(), offer.model_dump_json())
        begun = Begun(call.job.fingerprint, call.context)
        states.begin(key, begun, kept)
        return SumReply(OK, offer)

    def _shares(self, call: SumCall, party: Party, states: SumStore) -> SumReply:
        offered = _state(states, key_of(call), "keys", Offered)
        offer, dealt = party.deal(offered, _body(call, KeyList))
        return self._said(call, states, dealt, offer)

    def _masked(self, call: SumCall, party: Party, states: SumStore, check: SumCheck) -> SumReply:
        """Words with noise and masks. What peers dealt is opened before anything is charged."""
        with self.refusing(call):
            kept = self._kept(call, states)
            stored = self._find(key_of(call), call.request_hash)
            if kept is not None and stored is not None:
                return _said_words(states, stored.payload, stored.head)
            schedule = self._allowed(call)
            if context_of(call.task, schedule.plan.releases[call.step]) != call.context:
                raise out_of_order("inputs or grid are not those that the sum was begun for.")
            compute = check(schedule)
            offered = _state(states, key_of(call), "keys", Offered)
            dealt = _state(states, key_of(call), "shares", Dealt)
            masking = party.open(offered, dealt, _body(call, ShareList))
            if kept is None:
                kept = Kept(call.request_hash, masking.model_dump_json(), "")
                states.keep(key_of(call), "masked", kept)
        payload, head = self._released_words(call, schedule, masking, compute)
        with self.refusing(call, quote=False):
            return _said_words(states, payload, head)

    def _released_words(
        self, call: SumCall, schedule: Schedule, masking: Masking, compute: ComputeWords
    ) -> tuple[bytes, SignedHead]:
        def masked(mechanism: SharedSum) -> bytes:
            return arrays_to_bytes({_WORDS: masking.apply(compute(mechanism))})

        stored, payload = self._released(
            call,
            schedule,
            lambda noise: shared_mechanism_for(schedule.plan, call.step, noise),
            masked,
        )
        return payload, stored.head

    def _survivors(self, call: SumCall, party: Party, states: SumStore) -> SumReply:
        """Sign whose words are in the total, after the ledger says so."""
        key, survivors = key_of(call), _body(call, SurvivorList)
        masking = _state(states, key, "masked", Masking)
        kept, stored = states.find(key, "masked"), self._ledger.find(key)
        if kept is None or stored is None or stored.request_hash != kept.request:
            raise out_of_order("this client's own words are not in the sum.")
        agreement, agreed = party.agree(masking, survivors)
        self._agree(key, survivors.survivors)
        return self._said(call, states, agreed, agreement)

    def _agree(self, key: Key, survivors: tuple[str, ...]) -> None:
        """Write the list into the ledger; what was signed may be signed again.

        Raises:
            SumError: `sum-survivors`, another list was agreed to, whatever the states say.
        """
        with self._ledger.transaction():
            before = self._ledger.agreed(key)
            if before is None:
                named = {"job_id": key.job_id, "step": key.step, "session": key.session}
                self._ledger.append("agree", {**named, "survivors": list(survivors)})
            elif before != survivors:
                raise _another_list()

    def _reveal(self, call: SumCall, party: Party, states: SumStore) -> SumReply:
        """One kind of share for each peer, by the list that is in the ledger; then forget."""
        key, agreements = key_of(call), _body(call, AgreementList)
        masking = _state(states, key, "masked", Masking)
        agreed = _state(states, key, "survivors", Agreed)
        if self._ledger.agreed(key) != agreed.survivors:
            raise _another_list()
        reveal = party.reveal(masking, agreed, agreements)
        return self._said(call, states, None, reveal)

    def _said(
        self, call: SumCall, states: SumStore, state: Settings | None, body: ReplyBody
    ) -> SumReply:
        """Keep state and answer; then it may be sent."""
        text = "" if state is None else state.model_dump_json()
        kept = Kept(call.request_hash, text, body.model_dump_json())
        head = self._ledger.signed_head() if call.stage == "survivors" else None
        states.keep(key_of(call), call.stage, kept, head)
        return SumReply(OK, body)

    def _hold_to(self, states: SumStore) -> None:
        """Hold the ledger to the newest head that words or a signed list rest on.

        The masks of words that have left are in the states. A ledger that was put back would
        let the same masks hide other words, and the difference of the two is one client's.

        Raises:
            LedgerError: `ledger-rolled-back`; a `halt` row is there, and nothing is answered.
        """
        head = states.head()
        if head is not None:
            self._ledger.check_head(head, "this client, in a secure sum,")

    def _kept(self, call: SumCall, states: SumStore) -> Kept | None:
        """What this very request was answered; None if its stage has no answer yet.

        Raises:
            PrivacyError: `replay-conflict`, the job id was another job's in its first session;
                `snapshot-changed`.
            PolicyError: `job-closed`, and the stage has no answer yet.
            SumError: `sum-session`, its session is over, or too far ahead; `sum-stage`, it has
                not begun, was begun for other inputs, or the stage was answered for another
                request (`sum-survivors`, where that would be a second list).
        """
        key = key_of(call)
        if states.fingerprint(key.job_id) not in {None, call.job.fingerprint}:
            raise another_job("that it had in its first sum")
        begun, released = states.newest(key.job_id, key.step), self._newest_released(key)
        newest = -1 if begun is None else begun[0]
        if max(newest, released) > key.session or (released == key.session > newest):
            raise session_is_over(key)
        if newest < key.session:
            if call.stage != "keys":
                raise out_of_order("the session has not begun: its keys come first.")
            if key.session > max(newest, released) + FARTHEST:
                raise session_is_far(key)
            return None
        if begun is not None and begun[1] != call.context:
            raise out_of_order("the session was begun for other inputs.")
        kept = states.find(key, call.stage)
        if kept is not None and kept.request != call.request_hash:
            if call.stage == "survivors":
                raise _another_list()
            raise out_of_order(f"stage `{call.stage}` was answered before, for another request.")
        if kept is None:
            check_admitted(self._ledger, call.job, self._snapshot())
        return kept

    def _newest_released(self, key: Key) -> int:
        return self._ledger.newest_session(key.job_id, key.step)


def _body(call: SumCall, kind: type[_Body]) -> _Body:
    if not isinstance(call.body, kind):
        raise out_of_order(f"stage `{call.stage}` takes a {kind.__name__}.")
    return call.body


def _state(states: SumStore, key: Key, stage: Stage, kind: type[_State]) -> _State:
    kept = states.find(key, stage)
    if kept is None or not kept.state:
        raise out_of_order(f"stage `{stage}` was not answered, or is over.")
    try:
        return kind.model_validate_json(kept.state)
    except ValidationError:  # its text would quote a secret
        raise out_of_order(f"what was kept of stage `{stage}` is damaged.") from None


def _again(call: SumCall, kept: Kept) -> SumReply:
    try:
        return SumReply.again(call.stage, kept.reply)
    except ProtocolError:  # its text could quote a share
        raise out_of_order(f"what stage `{call.stage}` was answered is damaged.") from None


def _said_words(states: SumStore, payload: bytes, head: SignedHead) -> SumReply:
    """The words, once it is on disk beside their masks that the ledger has charged for them."""
    states.saw(head)
    return SumReply(OK, words=arrays_from_bytes(payload)[_WORDS], head=head)


def _another_list() -> SumError:
    return SumError(
        Code.SUM_SURVIVORS,
        "this client has agreed to another list of survivors.",
        where="survivors",
        remedy="Begin a new session; if no server crashed, tell the other clients.",
    )
