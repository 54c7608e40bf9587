"""The ways in which a hostile server asks, one function each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from flwr.app import Array, ArrayRecord

from common.errors import HushRecError
from common.privacy.heads import Receipt
from common.protocol import HELLO, RECEIPT, STEP, ReceiptMessage, Task
from simulations.attacks.hostile_fields import CHANGES, RAW
from simulations.attacks.hostile_messages import (
    BOMBS,
    POISONS,
    TINY,
    forged_receipt,
    garbage,
    huge,
)
from simulations.attacks.hostile_server import SMALL, HostileServer
from simulations.attacks.hostile_target import Shot

__all__ = ["WAYS", "How", "Volley", "Way"]

How: TypeAlias = Literal["one by one", "threads", "processes"]
_TIME: Final = "2030-01-01T00:00:00.000+00:00"
_AT_ONCE: Final = 4


class Volley(NamedTuple):
    """Messages that are sent together, and how."""

    shots: Sequence[Shot]
    how: How = "one by one"


Way: TypeAlias = Callable[[HostileServer, str], Shot | Volley]
"""Makes a message, or several at once, of the kind that it is told to be."""


def _changed(server: HostileServer, kind: str) -> Shot:
    return server.shot(kind, server.task(server.new_job(**CHANGES[kind](server.rng)), 0))


def _raw(server: HostileServer, kind: str) -> Shot:
    task = server.task(server.new_job(), 0)
    records, (old, new) = task.to_records(), server.one(RAW)
    header = records.config_records["task"]
    header["job"] = str(header["job"]).replace(old, new, 1)
    try:  # signed as the client will read it, if it can
        read = Task.from_records(records)
        header["signature"] = read.signed(server.keys[str(read.job.server)]).signature
    except (HushRecError, KeyError):
        return Shot(kind, records, STEP)
    return server.shot(kind, read, records)


def _again_changed(server: HostileServer, kind: str) -> Shot:
    task = server.known()
    if task.inputs and server.rng.random() < 0.5:
        return server.shot(kind, server.task(task.job, task.step))  # other arrays
    changes: dict[str, Any] = server.one(
        [
            {"seed": task.job.seed + 1},
            {"epsilon": float(task.job.epsilon or 1.0) * 1.5},
            {"delta": task.job.delta / 10},
            {"evaluation_share": 0.5},
            {"renyi_order": 77},
            {"signal": task.job.signal * 2},
            {"solver": "popularity", "settings": {}, "clients": 9},
        ]
    )
    changed = task.job.model_copy(update=changes)
    return server.shot(kind, server.task(changed, task.step, inputs=task.inputs))


def _replayed(server: HostileServer, kind: str) -> Shot:
    return server.shot(kind, server.known())


def _session(server: HostileServer, kind: str) -> Shot:
    task = server.known()
    number = int(server.rng.integers(1, 2**40))
    return server.shot(kind, server.task(task.job, task.step, session=number))


def _beyond(server: HostileServer, kind: str) -> Shot:
    task = server.known()
    step = int(server.one([50, 1000, 2**40]))
    return server.shot(kind, server.task(task.job, step))


def _other_servers_job(server: HostileServer, kind: str) -> Shot:
    task = server.known()
    other = server.one([key for key in server.keys if key != task.job.server])
    if server.rng.random() < 0.5:  # the job as it was, signed by the other
        return server.shot(kind, task.signed(server.keys[other]))
    job = task.job.model_copy(update={"server": other})
    return server.shot(kind, server.task(job, task.step, inputs=task.inputs))


def _unknown_server(server: HostileServer, kind: str) -> Shot:
    task, key = server.known(), server.stranger
    named = server.one([key.public, None])
    job = task.job.model_copy(update={"server": named})
    if server.rng.random() < 0.5:
        job = job.model_copy(update={"job_id": server.rng.bytes(16).hex()})
    return server.shot(kind, replace(task, job=job).signed(key))


def _badly_signed(server: HostileServer, kind: str) -> Shot:
    task, other = server.task(server.new_job(), 0), server.known()
    bad = server.one(["", "00" * 64, "zz" * 64, other.signature[:64], other.signature])
    if bad == other.signature:
        task = replace(other, step=other.step + 1)
    return server.shot(kind, replace(task, signature=bad))


def _clock(server: HostileServer, kind: str) -> Shot:
    days = int(server.one([-400, -8, -1, 1, 3, 8]))
    server.target.turned += timedelta(days=days)
    return server.honest(kind)


def _poisoned(server: HostileServer, kind: str) -> Shot:
    task = _task_with_arrays(server)
    name = server.one([*task.inputs, "more"])
    array = task.inputs.get(name, np.ones(3, np.float32))
    poisons = (*POISONS, TINY) if task.job.solver == "subspace" else POISONS
    arrays = {**task.inputs, name: server.one(poisons)(array, server.rng)}
    if name in task.inputs and server.rng.random() < 0.1:
        del arrays[name]
    return server.shot(kind, server.task(task.job, task.step, inputs=arrays))


def _bomb(server: HostileServer, kind: str) -> Shot:
    task = _task_with_arrays(server)
    records = task.to_records()
    name = server.one([*task.inputs, "more"])
    kept = {key: array for key, array in records.array_records["inputs"].items() if key != name}
    stype = server.one(["numpy.ndarray", "torch", "pickle"])
    bad = Array("float32", (60, 3), stype, server.one(BOMBS))
    records["inputs"] = ArrayRecord({**kept, name: bad})
    return Shot(kind, records, STEP, task.job, task.step)


def _task_with_arrays(server: HostileServer) -> Task:
    """The second step of a solver: popularity is the first, and the client is sent nothing."""
    solver = server.one(["subspace", "transitions", "sequential", "neural"])
    return server.task(server.new_job(solver=solver, settings=SMALL[solver]), 1)


def _garbage(server: HostileServer, kind: str) -> Shot:
    return Shot(kind, garbage(server.task(server.new_job(), 0), server.rng), STEP)


def _huge(server: HostileServer, kind: str) -> Shot:
    largest = server.target.policy.max_message_bytes
    records = huge(server.task(server.new_job(), 0), largest, server.rng)
    return Shot(kind, records, server.one([STEP, HELLO, RECEIPT]))


def _forged(server: HostileServer, kind: str) -> Shot:
    task, head = server.known(), server.head()
    if head is None:
        return _replayed(server, kind)
    receipt = forged_receipt(head, server.keys[str(task.job.server)], server.rng)
    return _with_receipt(server, kind, task, receipt)


def _receipt(server: HostileServer, kind: str) -> Shot:
    task, head = server.known(), server.head()
    if head is None:
        return _replayed(server, kind)
    return _with_receipt(
        server, kind, task, Receipt.sign(server.keys[str(task.job.server)], head, _TIME)
    )


def _with_receipt(server: HostileServer, kind: str, task: Task, receipt: Receipt) -> Shot:
    if server.rng.random() < 0.5:
        return Shot(kind, ReceiptMessage(receipt).to_records(), RECEIPT)
    return server.shot(kind, replace(task, receipt=receipt))


def _kind_of_message(server: HostileServer, kind: str) -> Shot:
    task = server.known()
    name = server.one(["train", "train.other", "evaluate", "query.profile", "query.ledger"])
    if server.rng.random() < 0.3:
        name = server.one([HELLO, RECEIPT])
    return Shot(kind, task.to_records(), name)


def _same_at_once(server: HostileServer, kind: str) -> Volley:
    shot = server.honest(kind)
    return Volley([shot] * _AT_ONCE, server.one(["threads", "processes"]))


def _jobs_at_once(server: HostileServer, kind: str) -> Volley:
    """Each of them fits alone, all of them together hardly ever."""
    whole = server.target.policy.lifetime.epsilon
    jobs = [
        server.new_job(
            epsilon=min(2 * server.appetite, 0.9 * whole), solver="popularity", settings={}
        )
        for _ in range(_AT_ONCE)
    ]
    shots = [server.shot(kind, server.task(job, 0)) for job in jobs]
    return Volley(shots, server.one(["threads", "processes"]))


WAYS: Final[dict[str, Way]] = {
    **dict.fromkeys(CHANGES, _changed),
    "a unit or field renamed": _raw,
    "a step again, changed": _again_changed,
    "a step again, the same": _replayed,
    "another session": _session,
    "a step out of the plan": _beyond,
    "the other server's job": _other_servers_job,
    "a server that nobody knows": _unknown_server,
    "not signed, or badly": _badly_signed,
    "a changed clock": _clock,
    "poisoned arrays": _poisoned,
    "bytes that are no array": _bomb,
    "garbage": _garbage,
    "a huge message": _huge,
    "a forged receipt": _forged,
    "an old receipt": _receipt,
    "another kind of message": _kind_of_message,
    "the same from many at once": _same_at_once,
    "many jobs at once": _jobs_at_once,
}
"""By what the message tries."""
