"""A step of mode `distributed`: one secure sum, in as few sessions as it takes.

A session that ends without a total costs what its masked words cost; the next one has new
keys, new noise and a new charge, because the same words under two lists of survivors would
show the difference of two totals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.arrays import Floats, Words
from common.errors import SumError
from common.job import Job
from common.privacy.heads import SignedHead
from common.privacy.plan import Release
from common.privacy.roster import Roster, Terms
from common.privacy.shared_noise import natural, noise_std_of
from common.protocol import Task
from common.protocol.sum_context import context_of
from common.solvers.base import NoisyTotal
from server.asking import Asking
from server.quorum import QuorumError
from server.repeats import REPEATS
from server.roster import Member
from server.seen import Recorder, Recording, Transcript
from server.sessions import SUMMED, SessionRecord, Sessions
from server.sum_session import SumSession

__all__ = ["SecureSums", "Summed", "check_enough"]


@dataclass(frozen=True)
class Summed:
    """A total, and how it came about.

    Attributes:
        total: in natural units, with the noise of all survivors.
        survivors: whose words are in it, in order of name.
        heads: of their ledgers, by name.
        refused: code by client of everybody else.
        sessions: every session of the step, of other processes too.
        bytes_down: of all messages to clients in this process's sessions.
        bytes_up: of all messages from them.
    """

    total: NoisyTotal
    survivors: Sequence[Member]
    heads: Mapping[str, SignedHead]
    refused: dict[str, str]
    sessions: tuple[SessionRecord, ...]
    bytes_down: int
    bytes_up: int


@dataclass(frozen=True)
class SecureSums:
    """The steps of one job as secure sums.

    Attributes:
        asking: how clients are asked.
        job: what is trained.
        terms: its threshold.
        sessions: numbers on disk.
        roster: public roster keys of the job's clients.
        recorder: keeps what comes; None if nobody asked for that.
        attempts: most sessions of a step in one call; if a training's programs start it again,
            also most of those that may have cost clients something, until a person resumes it.
        timeout_seconds: how long each stage waits.
        resumed: how often a person has resumed the training; None where a person starts every
            process, so that no more than `attempts` is counted.
    """

    asking: Asking
    job: Job
    terms: Terms
    sessions: Sessions
    roster: Roster
    recorder: Recorder | None = None
    attempts: int = 2
    timeout_seconds: float = 3600.0
    resumed: int | None = None

    def sum(self, step: int, inputs: Mapping[str, Floats], release: Release) -> Summed:
        """The total of one step.

        Guarantee:
            In a training, until a person resumes it, no session of a step begins after
            `attempts` of that step that may have charged clients, nor one that charges them
            again after `REPEATS` such sessions of all steps, or `attempts` if that is more;
            however often server apps are killed, as long as the folder `sums` is kept.

        Raises:
            RunError: `run-quorum`, no session made a total: who was lost where, and whether
                that cost clients anything; or none may begin without a person.
            ArtifactError: `artifact-invalid`, what the server wrote before is damaged.
            DataError: something cannot be written.
        """
        tried: list[SumSession] = []
        while True:
            self.asking.refresh()
            members = self.asking.asked
            check_enough(members, self.terms, self.asking.left_out)
            self._check_bound(step, release)
            tried.append(self._begin(step, inputs, release))
            found = self._words(tried[-1], members)
            if not isinstance(found, SumError):
                return self._summed(tried, found)
            if len(tried) >= self.attempts:
                raise self._failed(tried, found, len(members))

    def _check_bound(self, step: int, release: Release) -> None:
        """Hold the sessions on disk to what programs may cost clients.

        Raises:
            RunError: `run-quorum`, another session takes a person.
            ArtifactError: `artifact-invalid`, a record is damaged.
        """
        if self.resumed is None:
            return
        costly = [one for one in self.sessions.of(step) if one.may_have_cost]
        mine = sum(one.resumed == self.resumed for one in costly)
        repeats = self.sessions.repeats(self.resumed) if costly else 0
        if mine < self.attempts and repeats < max(REPEATS, self.attempts):
            return
        raise QuorumError(
            f"{len(costly)} sessions of this step may have cost clients a release and no total "
            "is kept of them, and no program begins another.",
            where=f"step {release.step}",
            remedy="Look why the server's processes end or clients are lost, then resume: the "
            "next session is charged anew.",
            charged=True,
        )

    def _begin(self, step: int, inputs: Mapping[str, Floats], release: Release) -> SumSession:
        number = self.sessions.begin(step, self.resumed or 0)
        task = Task(self.job, step, dict(inputs), number)
        return SumSession(
            self.asking,
            task,
            release,
            self.terms,
            self.roster,
            self.timeout_seconds,
            self._recording(task, release),
        )

    def _recording(self, task: Task, release: Release) -> Recording | None:
        if self.recorder is None:
            return None
        begun = SessionRecord(step=task.step, session=task.session)
        return self.recorder.begin(
            Transcript(
                job_id=self.job.job_id,
                name=release.step,
                clients=self.terms.clients,
                threshold=self.terms.threshold,
                colluders=self.terms.colluders,
                context=context_of(task, release),
                ended=begun,
            )
        )

    def _words(self, session: SumSession, members: Sequence[Member]) -> Words | SumError:
        """What a session came to; what became of it is on disk."""
        found: Words | SumError
        try:
            found = session.run(members)
        except SumError as error:
            found = error
        record = SessionRecord(
            step=session.task.step,
            session=session.task.session,
            outcome=str(found.code) if isinstance(found, SumError) else SUMMED,
            stage=session.stage,
            survivors=tuple(member.name for member in session.survivors),
            resumed=self.resumed or 0,
            dropped=session.dropped,
        )
        if session.recording is not None:
            session.recording.end(record, None if isinstance(found, SumError) else found)
        self.sessions.end(record)
        return found

    def _summed(self, tried: Sequence[SumSession], words: Words) -> Summed:
        session = tried[-1]
        survivors, release = session.survivors, session.release
        names = {member.name for member in survivors}
        lost = {name: drop.code for name, drop in session.dropped.items() if name not in names}
        return Summed(
            total=NoisyTotal(
                values=natural(words, release),
                noise_std=noise_std_of(release, len(survivors)),
                population=float(sum(member.population for member in survivors)),
                sampling_rate=release.sampling_rate,
            ),
            survivors=survivors,
            heads=session.heads,
            refused={**self.asking.left_out, **lost},
            sessions=self.sessions.of(session.task.step),
            bytes_down=sum(one.bytes_down for one in tried),
            bytes_up=sum(one.bytes_up for one in tried),
        )

    def _failed(self, tried: Sequence[SumSession], error: SumError, asked: int) -> QuorumError:
        last = tried[-1]
        lost = ", ".join(
            f"{name} at {drop.stage}: {drop.code}" for name, drop in sorted(last.dropped.items())
        )
        charged = any(session.masked for session in tried)
        spent = (
            "What masked words cost is spent, and the next session is charged anew."
            if charged
            else "Nothing was spent: no masked words were asked for."
        )
        return QuorumError(
            f"no total in {len(tried)} sessions; the last ended at stage {last.stage}, "
            f"{error.code}: {error.message} Lost: {lost or 'nobody'}.",
            where=f"step {last.release.step}, session {last.task.session}",
            remedy=f"Look at those clients' own logs, then resume. {spent}",
            missing=self.terms.threshold - asked + len(last.dropped),
            refused={name: drop.code for name, drop in last.dropped.items()},
            charged=charged,
        )


def check_enough(members: Sequence[Member], terms: Terms, left_out: Mapping[str, str]) -> None:
    """Hold the clients that can be asked to the threshold, before anybody is.

    Raises:
        RunError: `run-quorum`.
    """
    if len(members) >= terms.threshold:
        return
    why = "".join(f", {name}: {code}" for name, code in sorted(left_out.items()))
    missing = terms.threshold - len(members)
    raise QuorumError(
        f"{len(members)} of {terms.clients} clients can be asked, a secure sum takes "
        f"{terms.threshold}{why}.",
        where="threshold",
        remedy="Nobody was asked and nothing is spent: wait for more clients, then resume.",
        missing=missing,
        refused=left_out,
        silent=terms.clients - len(members) - len(left_out),
    )
