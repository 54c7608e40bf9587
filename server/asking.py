"""Asking clients: a signed task to each with its own receipt, and what they answered.

Every answer is judged here: what is no release, or comes with a head that contradicts an
earlier one, is a refusal with a code, and the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import HushRecError, LedgerError
from common.privacy.heads import Receipt
from common.privacy.inbound import check_arrays
from common.protocol import OK, RECEIPT, STEP, ReceiptMessage, Reply, Task
from common.solvers.base import Step
from server.combine import Combiner
from server.roster import NO_ANSWER, Member
from server.witness import Asked, Witness

__all__ = ["FLOWER_ERROR", "Asking"]

FLOWER_ERROR: Final = "flower-error"
"""In the place of a code, where Flower reports an error of its own."""
_LOG: Final = logging.getLogger("hushrec.server")


@dataclass(frozen=True)
class Asking:
    """Messages between the server and the clients of one job.

    Attributes:
        grid: where messages go.
        members: the clients that take part, in order of name.
        witness: signs tasks and countersigns heads; None for a job that names no server, whose
            tasks nobody signs and whose heads nobody checks.
    """

    grid: Grid
    members: Sequence[Member]
    witness: Witness | None

    def meet(self) -> None:
        """Leave out whoever comes with another ledger key than it had."""
        if self.witness is not None:
            for member in self.members:
                self.witness.meet(member.name, member.ledger_key)

    @property
    def asked(self) -> tuple[Member, ...]:
        """Everybody who is still asked, in order of name."""
        return tuple(member for member in self.members if member.name not in self._left_out)

    def ask(self, task: Task, combiner: Combiner, timeout_seconds: float) -> dict[str, str]:
        """Send the task to everybody; releases go to `combiner`, reason codes are returned.

        Raises:
            ArtifactError: `artifact-invalid`, another run has spoilt what was witnessed.
            DataError: a head that was seen cannot be written down.
        """
        self._refresh()
        asked = self.asked
        refused = {**self._left_out, **{member.name: NO_ANSWER for member in asked}}
        signed = task if self.witness is None else task.signed(self.witness.key)
        copies = signed.copies(self._receipt(member) for member in asked)
        group = str(task.step)
        messages = [_to(m, records, STEP, group) for m, records in zip(asked, copies, strict=True)]
        for member, message in self._answers(messages, timeout_seconds):
            reply = self._judged(member, task, _read(message, combiner.step))
            if reply.code == OK:
                combiner.offer(member, reply)
                del refused[member.name]
            else:
                refused[member.name] = reply.code
        if self.witness is not None:
            self.witness.sync()
        _log(refused, f"gives no release in step {task.step} ({combiner.release.step})")
        return refused

    def hand_over(self, timeout_seconds: float) -> None:
        """Give everybody the receipt for its newest head, also those who are left out.

        Nothing depends on the answers: who gets none has a shorter proof, no other ledger.
        """
        self._refresh()
        messages, refused = [], {}
        for member in self.members:
            receipt = self._receipt(member)
            if receipt is not None:
                records = ReceiptMessage(receipt).to_records()
                messages.append(_to(member, records, RECEIPT, "receipt"))
                refused[member.name] = NO_ANSWER
        for member, message in self._answers(messages, timeout_seconds):
            reply = _read(message)
            if reply.code == OK:
                del refused[member.name]
            else:
                refused[member.name] = reply.code
        _log(refused, "does not take its last receipt")

    def _refresh(self) -> None:
        """Another run of this server may have seen later heads meanwhile."""
        if self.witness is not None:
            self.witness.refresh()

    @property
    def _left_out(self) -> dict[str, str]:
        return {} if self.witness is None else {**self.witness.left_out}

    def _receipt(self, member: Member) -> Receipt | None:
        return None if self.witness is None else self.witness.receipt(member.name)

    def _answers(
        self, messages: Sequence[Message], timeout_seconds: float
    ) -> Iterator[tuple[Member, Message]]:
        """The first answer of each client that was asked."""
        nodes = {message.metadata.dst_node_id for message in messages}
        waiting = {member.node_id: member for member in self.members if member.node_id in nodes}
        for message in self.grid.send_and_receive(messages, timeout=timeout_seconds):
            member = waiting.pop(message.metadata.src_node_id, None)
            if member is not None:
                yield member, message

    def _judged(self, member: Member, task: Task, reply: Reply) -> Reply:
        """The reply, or a refusal where its head contradicts what was seen."""
        if reply.code != OK or self.witness is None:
            return reply
        asked = Asked(job_id=task.job.job_id, step=task.step, session=task.session)
        try:
            self.witness.see(member.name, asked, reply.head, ledger_key=member.ledger_key)
        except LedgerError as error:
            return Reply(str(error.code))
        return reply


def _to(member: Member, records: RecordDict, message_type: str, group: str) -> Message:
    return Message(records, dst_node_id=member.node_id, message_type=message_type, group_id=group)


def _read(message: Message, step: Step | None = None) -> Reply:
    """A client's reply; anything that is not one counts as a refusal with a code.

    Args:
        message: what came.
        step: what its arrays must be; None if there should be none.
    """
    if message.has_error():
        return Reply(FLOWER_ERROR)
    try:
        reply = Reply.from_records(message.content)
        if reply.code == OK:
            check_arrays(reply.arrays, {} if step is None else step.outputs)
    except HushRecError as error:
        return Reply(str(error.code))
    return reply


def _log(refused: Mapping[str, str], what: str) -> None:
    for name, code in sorted(refused.items()):
        _LOG.warning("%s %s: %s", name, what, code)
