"""One client under attack: asked by real messages, every field of every answer looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from pydantic import ValidationError

from client.app import make_app
from client.store import ClientStore, read_policy
from common.artifacts import arrays_to_bytes
from common.errors import Code, HushRecError
from common.job import Job
from common.privacy.heads import SignedHead
from common.protocol import OK, Hello, Reply
from common.schedule import schedule_of

__all__ = ["Answer", "Shot", "Target"]

_NODE: Final = 5
_HEADER: Final = {"code", "head"}


@dataclass(frozen=True)
class Shot:
    """One message that a server sends.

    Attributes:
        kind: what it tries.
        records: what is in it.
        message_type: how it is addressed.
        job: whose step it asks for, None where it asks for none.
        step: which.
    """

    kind: str
    records: RecordDict
    message_type: str
    job: Job | None = None
    step: int = 0


@dataclass(frozen=True)
class Answer:
    """What came back, as far as it is remembered.

    Attributes:
        kind: what was tried.
        code: the answer's code.
        undeclared: what is in the answer and nothing declares, in words.
        digest: SHA-256 of the released bytes, None if nothing was released.
        head: head of the ledger in the answer.
        job_id: whose step was released.
        step: which.
        solver: of the job that was named, empty if none was.
    """

    kind: str
    code: str
    undeclared: tuple[str, ...] = ()
    digest: str | None = None
    head: SignedHead | None = None
    job_id: str = ""
    step: int = 0
    solver: str = ""


class Target:
    """A client in its folder, behind the real ClientApp, not called a simulation.

    Args:
        folder: the client's.
        now: what time it is.
        turned: how far the client's clock is off.
    """

    def __init__(self, folder: Path, now: datetime, turned: timedelta = timedelta()) -> None:
        self.folder = folder
        self.now = now
        self.turned = turned
        self.policy = read_policy(folder)
        self.store = ClientStore.open(folder)
        self._app = make_app(clock=self.clock)
        self._context = Context(1, _NODE, {"home": str(folder)}, RecordDict(), {})

    @property
    def name(self) -> str:
        """The client's name."""
        return self.store.settings.name

    def clock(self) -> datetime:
        """What the client believes that the time is."""
        return self.now + self.turned

    def send(self, shot: Shot) -> Answer:
        """Send one message and judge what comes back."""
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        message = Message(
            shot.records, dst_node_id=_NODE, message_type=shot.message_type, group_id="g"
        )
        message.metadata.__dict__["_message_id"] = "m"
        reply = self._app(message, self._context)
        if reply.has_error():
            return Answer(shot.kind, "error", ("an error of Flower's, which has a text",))
        if "hello" in reply.content.config_records.get("reply", ConfigRecord()):
            return Answer(shot.kind, OK, tuple(self._hello(reply.content)))
        solver = "" if shot.job is None else shot.job.solver
        return replace(_judge(shot, reply.content), solver=solver)

    def _hello(self, records: RecordDict) -> list[str]:
        """What a hello says beside the client's public facts."""
        found = list(_strays(records, {"reply": {"code", "hello"}}))
        hello = json.loads(str(records.config_records["reply"]["hello"]))
        settings = self.store.settings
        public = {
            "client": settings.name,
            "population": settings.population,
            "catalogue_version": self.store.catalogue.version,
            "private": True,
        }
        found += [f"hello.{key}" for key in hello.keys() - set(Hello.model_fields)]
        found += [f"hello.{key} = {hello[key]}" for key, v in public.items() if hello[key] != v]
        return found


def _judge(shot: Shot, records: RecordDict) -> Answer:
    header = records.config_records.get("reply", ConfigRecord())
    released = records.array_records.get("release", ArrayRecord())
    code = str(header.get("code"))
    strays = list(_strays(records, {"reply": _HEADER, "release": set(released)}))
    if code != OK or shot.job is None:
        strays += [f"release.{name}" for name in released]
        strays += ["reply.head"] if header.get("head") else []
        strays += [] if code in {OK, *Code} else [f"code {code}"]
        return Answer(shot.kind, code, tuple(strays))
    try:
        reply = Reply.from_records(records)
        if reply.head is None:
            raise ValueError("no head")
        reply.head.check()
    except (HushRecError, ValidationError, ValueError) as error:
        return Answer(shot.kind, code, (*strays, f"a release that cannot be read: {error}"))
    strays += _undeclared_arrays(shot.job, shot.step, reply.arrays)
    digest = hashlib.sha256(arrays_to_bytes(reply.arrays)).hexdigest()
    return Answer(shot.kind, code, tuple(strays), digest, reply.head, shot.job.job_id, shot.step)


def _undeclared_arrays(job: Job, step: int, arrays: Mapping[str, Any]) -> Sequence[str]:
    declared = schedule_of(job).steps[step].outputs
    return [
        f"release.{name}: {array.dtype} {array.shape}"
        for name, array in arrays.items()
        if name not in declared
        or (str(array.dtype), array.shape) != ("float32", declared[name].shape)
    ]


def _strays(records: RecordDict, declared: Mapping[str, set[str]]) -> Sequence[str]:
    """Records, and keys in them, beyond those that are declared."""
    found = [name for name in records if name not in declared]
    for name, record in records.items():
        if not isinstance(record, ArrayRecord):
            found += [f"{name}.{key}" for key in record if key not in declared.get(name, set())]
    return found
