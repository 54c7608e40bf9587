"""Jobs in the ledger: admitted once and as a whole, held to what they were, closed by the owner."""

from __future__ import annotations

import functools
from typing import Any

from client.guard.alone import alone
from client.ledger_store import LedgerStore
from client.sum_store import forget_job
from common.errors import Code, LedgerError, PolicyError, PrivacyError
from common.job import Job
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING
from common.privacy.guarantees import AgainstWhom, guarantees_for
from common.privacy.ledger_index import AdmittedJob
from common.privacy.plan import PrivacyPlan
from common.schedule import Schedule

__all__ = ["admit", "another_job", "check_admitted", "check_halted", "close_job"]


def admit(ledger: LedgerStore, schedule: Schedule, snapshot: str, *, shops: int = 1) -> None:
    """Write a job's plan as a whole, once; hold an admitted job to what was admitted.

    Args:
        ledger: inside a transaction, so that the caller can still take it back.
        schedule: the job with its plan.
        snapshot: keyed hash of the data that it works on.
        shops: clients that one person may be a user of, by the policy: for what is promised.

    Raises:
        PrivacyError: `replay-conflict`, the job changed; `snapshot-changed`, the log did.
        PolicyError: `job-closed`, the owner ended it.
    """
    job = schedule.job
    if check_admitted(ledger, job, snapshot):
        return
    body: dict[str, Any] = {
        "job_id": job.job_id,
        "fingerprint": job.fingerprint,
        "plan": schedule.plan.model_dump(mode="json"),
        "unit": schedule.plan.unit,
        "neighbouring": NEIGHBOURING,
        "accountant": ACCOUNTANT,
        "snapshot": snapshot,
        "server": job.server,
    }
    promised = _promised(schedule.plan, shops)
    if promised:
        body["guarantees"] = [one.model_dump(mode="json") for one in promised]
    ledger.append("admit", body)


@functools.lru_cache(maxsize=16)
def _promised(plan: PrivacyPlan, shops: int) -> tuple[AgainstWhom, ...]:
    """What is promised; a sum asks twice, for its keys and for its words, and PLD is slow."""
    return tuple(guarantees_for(plan, shops))


def check_admitted(ledger: LedgerStore, job: Job, snapshot: str) -> bool:
    """Whether the job was admitted; if so, it is open and the same, on the same data.

    Raises:
        PrivacyError: `replay-conflict`, the job changed; `snapshot-changed`, the log did.
        PolicyError: `job-closed`, the owner ended it.
    """
    admitted = ledger.job(job.job_id)
    if admitted is not None:
        _check_same(admitted, job.fingerprint, snapshot)
    return admitted is not None


def close_job(ledger: LedgerStore, job_id: str) -> None:
    """End a job, as its owner: it is answered no more, but for what was answered before.

    What it had not reserved is no longer held for it; what it had stays spent. Its
    secrets of secure sums are erased. Who calls is not `alone` with the ledger.

    Raises:
        PolicyError: `job-closed`, the ledger has no such job that is open; secrets are
            erased even so.
        SumError: `sum-stage`, the job is closed, and its secrets are still there.
    """
    try:
        _close(ledger, job_id)
    finally:
        with alone(ledger.path):
            forget_job(ledger.path.parent, job_id)


def _close(ledger: LedgerStore, job_id: str) -> None:
    with ledger.transaction():
        admitted = ledger.job(job_id)
        if admitted is None or admitted.closed:
            what = "was closed before" if admitted is not None else "was never admitted here"
            raise PolicyError(
                Code.JOB_CLOSED,
                f"the job {what}: there is nothing to end.",
                where=f"job {job_id}",
                remedy="Look its id up with `hushrec budget`.",
            )
        ledger.append("close", {"job_id": job_id})


def check_halted(ledger: LedgerStore) -> None:
    """The ledger was never shown to be an old copy of itself.

    Raises:
        LedgerError: `ledger-rolled-back`, and nothing is answered any more.
    """
    halt = ledger.last("halt")
    if halt is not None:
        raise LedgerError(
            Code.LEDGER_ROLLED_BACK,
            f"this ledger is an old copy: somebody holds its row {halt.body.get('seq')}.",
            where="ledger",
            remedy="Put the newest copy of the ledger back; what it has forgotten was spent.",
        )


def _check_same(admitted: AdmittedJob, fingerprint: str, snapshot: str) -> None:
    if admitted.fingerprint != fingerprint:
        raise another_job("that was admitted")
    if admitted.closed:
        raise PolicyError(
            Code.JOB_CLOSED,
            "the owner ended this job.",
            remedy="Start a new job, which is charged for itself.",
        )
    if admitted.snapshot != snapshot:
        raise PrivacyError(
            Code.SNAPSHOT_CHANGED,
            "the event log changed since this job was admitted.",
            remedy="A job trains on one snapshot: put it back, or let a new job start.",
        )


def another_job(content: str) -> PrivacyError:
    """`replay-conflict`, about a job that has an id but not the content that it stood for."""
    return PrivacyError(
        Code.REPLAY_CONFLICT,
        f"the job has this id but not the content {content}.",
        remedy="A server must not change a job under way: start a new job.",
    )
