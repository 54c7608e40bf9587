"""The guard: is it allowed, was it answered before, what does it cost. In that order.

Guarantee:
    Everything about a task is checked before anything is reserved. A release is computed
    only under a reservation that is on disk and within every cap of the policy, together with
    all that was reserved before and all that open jobs still hold; its bytes are on disk with
    the `spend` row before they leave. The same request returns the same bytes and costs
    nothing, however many copies of it come at once; the same step with another request is
    refused. A refusal is a row, of strangers up to so many a day. A ledger that was rolled
    back answers nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from flwr.app import RecordDict

from client.guard.admission import close_job
from client.guard.alone import alone
from client.guard.receipts import keep_receipt
from client.guard.refusals import Asked
from client.guard.releasing import Releasing, key_of
from client.guard.rules import (
    check_job,
    check_plan,
    check_sampling,
    check_server,
)
from client.guard.sum_rules import check_way
from client.ledger_store import StoredRelease
from client.store import ClientStore
from client.training import Compute
from common.artifacts import arrays_from_bytes, arrays_to_bytes
from common.errors import Code, DataError, ProtocolError
from common.job import Job
from common.privacy.mechanisms import mechanism_for
from common.protocol import OK, Reply, Task
from common.schedule import Schedule, count_steps, schedule_of

__all__ = ["Check", "Guard"]

Check: TypeAlias = Callable[[Schedule], Compute]
"""Checks what a task brings, without looking at data, and returns what computes it."""


class Guard(Releasing):
    """Stands between a task and the client's data. Use as a context manager."""

    def read(self, records: RecordDict) -> Task:
        """The task in a message.

        Raises:
            HushRecError: it is refused before, or cannot be read.
        """
        self.look(records)
        with self.refusing(known=False):
            return Task.from_records(records)

    def data_of(self, job: Job) -> ClientStore:
        """What the job trains on: the log as it was when the job began here, if it is kept.

        One that is closed, or whose copy is over, gets the log as it is, and is refused then.
        """
        admitted = self._ledger.job(job.job_id)
        if admitted is None or admitted.closed or admitted.snapshot == self._snapshot():
            return self._store
        now = datetime.now(UTC) if self._clock is None else self._clock()
        self._store = self._store.frozen(admitted.snapshot, now) or self._store
        return self._store

    def answer(self, task: Task, check: Check) -> Reply:
        """Answer a task: from the store if it was answered, else by computing it.

        Raises:
            HushRecError: refused; a `refuse` row says why. Nothing was reserved, unless the
                computation itself failed.
        """
        self._let_in(task)
        with self.refusing(task):
            check_way(task.job, in_sums=False)
            stored = self._find(key_of(task), task.request_hash)
            if stored is not None and stored.payload:
                return _reply(stored, stored.payload)
            schedule = self._allowed(task)
            compute = check(schedule)
        with alone(self._store.ledger_path):
            return self._release(task, schedule, compute)

    def _release(self, task: Task, schedule: Schedule, compute: Compute) -> Reply:
        stored, payload = self._released(
            task,
            schedule,
            lambda noise: mechanism_for(schedule.plan, task.step, noise),
            lambda mechanism: arrays_to_bytes(compute(mechanism)),
        )
        return _reply(stored, payload)

    def _let_in(self, asked: Asked) -> None:
        """Take the receipt that a request brings, and hold the request to its server.

        Raises:
            PolicyError: `policy-server`.
            LedgerError: `ledger-rolled-back`, `ledger-signature`: of the receipt.
        """
        with self.refusing(asked, known=False):
            if asked.receipt is not None:  # whoever brings a later head has proof of it
                self._ledger.check_receipt(asked.receipt)
            check_server(self._policy, asked)
        with self.refusing(asked):
            if asked.receipt is not None:
                keep_receipt(self._ledger, self._policy, asked.receipt, asked.job.server)

    def close_job(self, job_id: str) -> None:
        """End a job, as the client's owner; see `admission.close_job`."""
        close_job(self._ledger, job_id)

    def _allowed(self, task: Asked) -> Schedule:
        """The schedule of a job that the policy lets this client take part in.

        Raises:
            PolicyError: it breaks a rule.
            PlanError: the plan is not to be had at all.
            DataError: `catalogue-mismatch`, it is about other items.
            ProtocolError: `protocol-invalid`, the plan has no such step.
        """
        self._check_job(task.job)
        self._check_catalogue(task.job)
        check_plan(self._policy, count_steps(task.job))
        schedule = schedule_of(task.job)
        check_sampling(self._policy, schedule.plan)
        if task.step >= len(schedule.steps):
            raise ProtocolError(
                Code.PROTOCOL_INVALID,
                f"the job has {len(schedule.steps)} steps, not {task.step + 1}.",
                where="task.step",
            )
        if task.session != 0 and task.job.mode != "distributed":
            raise ProtocolError(
                Code.PROTOCOL_INVALID,
                f"mode {task.job.mode!r} has one release a step: a second one is not planned.",
                where="task.session",
            )
        return schedule

    def _check_job(self, job: Job) -> None:
        check_job(self._policy, job, self._store.settings)

    def _check_catalogue(self, job: Job) -> None:
        own = self._store.catalogue
        if job.catalogue_version != own.version or job.n_items != len(own):
            raise DataError(
                Code.CATALOGUE_MISMATCH,
                f"the job is about catalogue {job.catalogue_version[:12]} of {job.n_items} items, "
                f"this client has {own.version[:12]} of {len(own)}.",
                where="task.job",
                remedy="Bring both sides to one catalogue.",
            )


def _reply(stored: StoredRelease, payload: bytes) -> Reply:
    return Reply(OK, arrays_from_bytes(payload), stored.head)
