"""Run by `test_crashes.py`: a client that kills itself at a given point, in a forked child.

Usage: crash_child.py RUN CLIENT_FOLDER JOB_JSON STEP. One line of JSON for each point: its name,
whether the child died there, and the ledger and reply that were found afterwards. Every point
starts from a fresh copy of the folder, so that this process imports only once.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

import client.app
import client.guard
import client.ledger_store
from client.app import make_app
from client.ledger_store import Key, LedgerStore
from client.store import ClientStore
from common.job import Job
from common.privacy.mechanisms import GaussianSum
from common.protocol import STEP, Reply, Task
from common.schedule import Schedule, schedule_of
from server.keys import server_key


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counting_connection(nth: int) -> type[sqlite3.Connection]:
    """A connection whose process dies just before its nth statement."""
    count = 0

    class Dying(sqlite3.Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            nonlocal count
            count += 1
            if count == nth:
                die()
            return super().execute(*args)

    return Dying


def dies_at_statement(nth: int) -> Callable[[], None]:
    def arm() -> None:
        factory = counting_connection(nth)
        connect = sqlite3.connect
        client.ledger_store.sqlite3.connect = (  # type: ignore[assignment]
            lambda *args, **kwargs: connect(*args, factory=factory, **kwargs)
        )

    return arm


def dies_in(owner: Any, name: str, *, after: bool = False) -> Callable[[], None]:
    def arm() -> None:
        original = getattr(owner, name)

        def dying(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs) if after else None
            die()
            return result

        setattr(owner, name, dying)

    return arm


def points() -> Iterator[tuple[str, Callable[[], None]]]:
    """Named ones, then the gap before each SQL statement, for as long as there is one."""
    named = {
        "before reserving": dies_in(client.guard.Guard, "_reserve"),
        "after reserving": dies_in(client.guard.Guard, "_reserve", after=True),
        "during compute": dies_in(Schedule, "contribute"),
        "after the sum": dies_in(GaussianSum, "sum", after=True),
        "before commit": dies_in(LedgerStore, "commit_release"),
        "after commit": dies_in(LedgerStore, "commit_release", after=True),
        "before sending": dies_in(client.app, "answer"),
        "after closing": dies_in(LedgerStore, "close", after=True),
        "no crash": lambda: None,
    }
    yield from named.items()
    for nth in itertools.count(1):
        yield f"before statement {nth}", dies_at_statement(nth)


def ask(folder: Path, task: Task) -> Reply:
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    message = Message(task.to_records(), dst_node_id=5, message_type=STEP, group_id="g")
    context = Context(1, 5, {"home": str(folder)}, RecordDict(), {})
    return Reply.from_records(make_app(simulation=True)(message, context).content)


def in_child(folder: Path, task: Task, arm: Callable[[], None], sent: Path) -> bool:
    """Answer in a child; what it would have sent is its digest in `sent`. Did it die?"""
    child = os.fork()
    if child == 0:
        try:
            arm()
            reply = ask(folder, task)
            sent.write_text(f"{reply.code} {digest(reply)}")
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def digest(reply: Reply) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in reply.arrays.values())).hexdigest()


def kinds(folder: Path) -> list[str]:
    store = ClientStore.open(folder)
    settings = store.settings
    with LedgerStore.open(store.ledger_path, settings.name, settings.dataset_id) as ledger:
        rows = ledger.rows()
        ledger.verify()
    return [row.kind for row in rows]


def committed(folder: Path, task: Task) -> bool:
    """Whether the ledger holds bytes for the task."""
    store = ClientStore.open(folder)
    settings = store.settings
    with LedgerStore.open(store.ledger_path, settings.name, settings.dataset_id) as ledger:
        return ledger.find(Key(task.job.job_id, task.step, 0)) is not None


def main() -> None:
    run, folder, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[4])
    job = Job.model_validate_json(sys.argv[3])
    specs = schedule_of(job).steps[step].inputs
    inputs = {
        name: np.full(spec.shape, 0.5, np.float32) if len(spec.shape) == 1
        else np.eye(*spec.shape, dtype=np.float32)
        for name, spec in specs.items()
    }  # fmt: skip
    task = Task(job, step, inputs).signed(server_key(run))
    for name, arm in points():
        copy, sent = folder.with_name(f"{folder.name}-copy"), folder.with_name("sent.txt")
        shutil.copytree(folder, copy)
        sent.unlink(missing_ok=True)
        died = in_child(copy, task, arm, sent)
        found = {
            "point": name,
            "died": died,
            "sent": sent.read_text() if sent.exists() else None,
            "after": kinds(copy),
            "committed": committed(copy, task),
        }
        retry, again = ask(copy, task), ask(copy, task)
        found |= {
            "retry": f"{retry.code} {digest(retry)}",
            "same": (retry.head, digest(retry)) == (again.head, digest(again)),
            "finally": kinds(copy),
        }
        sys.stdout.write(json.dumps(found) + "\n")
        shutil.rmtree(copy)
        if not died and name.startswith("before statement"):
            break


if __name__ == "__main__":
    main()
