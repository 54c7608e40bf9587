"""Asking clients: a signed task to each with its own receipt, and what they answered.

Every answer is judged here: what is no release, or comes with a head that contradicts an
earlier one, is a refusal with a code, and the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import HushRecError, LedgerError
from common.privacy.heads import Receipt, SignedHead
from common.privacy.inbound import check_arrays
from common.protocol import OK, RECEIPT, STEP, ReceiptMessage, Reply, Task
from common.solvers.base import Step
from server.combine import Combiner
from server.quorum import FLOWER_ERROR, NO_ANSWER, error_of
from server.repeats import Repeats
from server.roster import Member
from server.witness import Asked, Witness

__all__ = ["FLOWER_ERROR", "Asking", "error_of", "log_refused"]

_LOG: Final = logging.getLogger("hushrec.server")


@dataclass(frozen=True)
class Asking:
    """Messages between the server and the clients of one job.

    Attributes:
        grid: where messages go.
        members: the clients that take part, in order of name.
        witness: signs tasks and countersigns heads; None for a job that names no server, whose
            tasks nobody signs and whose heads nobody checks.
        repeats: how often each was asked for a release; None where a person starts every
            process, so that nobody counts.
    """

    grid: Grid
    members: Sequence[Member]
    witness: Witness | None
    repeats: Repeats | None = None

    def meet(self) -> None:
        """Leave out whoever comes with another ledger key than it had."""
        if self.witness is not None:
            for member in self.members:
                self.witness.meet(member.name, member.ledger_key)

    @property
    def asked(self) -> tuple[Member, ...]:
        """Everybody who is still asked, in order of name."""
        return tuple(member for member in self.members if member.name not in self.left_out)

    def ask(self, task: Task, combiner: Combiner, timeout_seconds: float) -> dict[str, str]:
        """Send the task to everybody but who is held; releases go to `combiner`.

        Returns:
            A reason code for each client that gave none; of who is held, its last one.

        Raises:
            ArtifactError: `artifact-invalid`, another run has spoilt what was witnessed.
            DataError: a head that was seen, or who is asked, cannot be written down.
        """
        self.refresh()
        held = self.held(task.step)
        asked = [member for member in self.asked if member.name not in held]
        refused = {**held, **self.left_out, **{member.name: NO_ANSWER for member in asked}}
        signed = task if self.witness is None else task.signed(self.witness.key)
        copies = signed.copies(self.receipt(member) for member in asked)
        calls = zip(asked, copies, strict=True)
        group, note = str(task.step), self._asking(task.step)
        for member, message in self.answers(calls, STEP, group, timeout_seconds, sending=note):
            reply = self._judged(member, task, _read(message, combiner.step))
            if reply.code == OK:
                combiner.offer(member, reply)
                del refused[member.name]
            else:
                refused[member.name] = reply.code
            if self.repeats is not None:
                self.repeats.answered(task.step, member.name, reply.code)
        self.sync()
        log_refused(refused, f"gives no release in step {task.step} ({combiner.release.step})")
        return refused

    def hand_over(self, timeout_seconds: float) -> None:
        """Give everybody the receipt for its newest head, also those who are left out.

        Nothing depends on the answers: who gets none has a shorter proof, no other ledger.
        """
        self.refresh()
        receipts = [(member, self.receipt(member)) for member in self.members]
        calls = [(m, ReceiptMessage(receipt).to_records()) for m, receipt in receipts if receipt]
        refused = {member.name: NO_ANSWER for member, _ in calls}
        for member, message in self.answers(calls, RECEIPT, "receipt", timeout_seconds):
            reply = _read(message)
            if reply.code == OK:
                del refused[member.name]
            else:
                refused[member.name] = reply.code
        log_refused(refused, "does not take its last receipt")

    def refresh(self) -> None:
        """Another run of this server may have seen later heads meanwhile."""
        if self.witness is not None:
            self.witness.refresh()

    def sync(self) -> None:
        """Wait until the disk has every head that was seen: before its receipt leaves."""
        if self.witness is not None:
            self.witness.sync()

    @property
    def left_out(self) -> dict[str, str]:
        """Why the releases of a client are not used any more, by client."""
        return {} if self.witness is None else {**self.witness.left_out}

    def held(self, step: int) -> dict[str, str]:
        """Members that no program asks for this step again, with the last code of each."""
        known = {} if self.repeats is None else self.repeats.held(step)
        names = {member.name for member in self.members}
        return {name: code for name, code in known.items() if name in names}

    def receipt(self, member: Member) -> Receipt | None:
        """What goes to a client with the next message."""
        return None if self.witness is None else self.witness.receipt(member.name)

    def answers(
        self,
        calls: Iterable[tuple[Member, RecordDict]],
        message_type: str,
        group: str,
        timeout_seconds: float,
        *,
        sending: Callable[[Iterable[str]], None] | None = None,
    ) -> Iterator[tuple[Member, Message]]:
        """Send each client its records; the first answer of each, as they come.

        `sending` is told the names of those who are connected, before anything leaves.

        A client whose node is not connected is not asked: Flower has no message for it.
        """
        waiting: dict[int, Member] = {}
        messages = []
        connected = set(self.grid.get_node_ids())
        for member, records in calls:
            if member.node_id not in connected:
                continue
            waiting[member.node_id] = member
            messages.append(_to(member, records, message_type, group))
        if not messages:
            return
        if sending is not None:
            sending([member.name for member in waiting.values()])
        for message in self.grid.send_and_receive(messages, timeout=timeout_seconds):
            sender = waiting.pop(message.metadata.src_node_id, None)
            if sender is not None:
                yield sender, message

    def _asking(self, step: int) -> Callable[[Iterable[str]], None] | None:
        repeats = self.repeats
        return None if repeats is None else lambda names: repeats.asking(step, names)

    def judge(self, member: Member, asked: Asked, head: SignedHead | None) -> str:
        """`ok`, or the code for a head that contradicts what was seen; see `Witness.see`."""
        if self.witness is None:
            return OK
        try:
            self.witness.see(member.name, asked, head, ledger_key=member.ledger_key)
        except LedgerError as error:
            return str(error.code)
        return OK

    def _judged(self, member: Member, task: Task, reply: Reply) -> Reply:
        """The reply, or a refusal where its head contradicts what was seen."""
        if reply.code != OK:
            return reply
        asked = Asked(job_id=task.job.job_id, step=task.step, session=task.session)
        code = self.judge(member, asked, reply.head)
        return reply if code == OK else Reply(code)


def _to(member: Member, records: RecordDict, message_type: str, group: str) -> Message:
    return Message(records, dst_node_id=member.node_id, message_type=message_type, group_id=group)


def _read(message: Message, step: Step | None = None) -> Reply:
    """A client's reply; anything that is not one counts as a refusal with a code.

    Args:
        message: what came.
        step: what its arrays must be; None if there should be none.
    """
    if message.has_error():
        return Reply(error_of(message))
    try:
        reply = Reply.from_records(message.content)
        if reply.code == OK:
            check_arrays(reply.arrays, {} if step is None else step.outputs)
    except HushRecError as error:
        return Reply(str(error.code))
    return reply


def log_refused(refused: Mapping[str, str], what: str) -> None:
    """A line for each client that did not do as asked."""
    for name, code in sorted(refused.items()):
        _LOG.warning("%s %s: %s", name, what, code)
