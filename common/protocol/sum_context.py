"""What one secure sum is about, in one hash that everybody in it must share."""

from __future__ import annotations

import hashlib

from common.privacy.events import event_of
from common.privacy.plan import Release
from common.protocol.tasks import Task

__all__ = ["context_of"]


def context_of(task: Task, release: Release) -> str:
    """SHA-256 of the task (job, step, session, inputs) and of the grid that its words are on.

    Both sides derive the grid from the job. If versions or machines ever derived two, totals
    would be of words of different worth: with the grid in the context no such sum comes about.

    Args:
        task: what is summed.
        release: of the step, from the plan; clients share its noise.
    """
    parts = (task.request_hash, release.model_dump_json(), event_of(release).model_dump_json())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
