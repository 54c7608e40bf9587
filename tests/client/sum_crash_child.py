"""Run by `test_sum_crashes.py`: a client that kills itself in a stage of a secure sum.

Usage: sum_crash_child.py RUN. One line of JSON for each point of each stage: whether the client
died there, what it had sent, what is on its disk, and what it answered afterwards to another
request for the same stage and to the same one. Every point starts from a fresh copy of the
client's folder. Of points between two statements that leave the same on disk, the first is asked
and the others name it.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict

import client.app
from client.guard import SumGuard
from client.guard.releasing import key_of
from client.ledger_store import LedgerStore
from client.sum_store import SumStore
from common.privacy.shared_noise import SharedSum
from common.protocol import SumCall, SumReply
from common.secure_sum.messages import (
    STAGES,
    AgreementList,
    KeyList,
    ShareList,
    Stage,
    SurvivorList,
)
from tests.client.crash_child import dies_at_statement, dies_in
from tests.client.summing import Session
from tests.conftest import shop_of

ME = "shop-1"


def points(stage: Stage) -> Iterator[tuple[str, Callable[[], None]]]:
    """Named ones, then the gap before each SQL statement of ledger and states."""
    keeps = "begin" if stage == "keys" else "keep"
    yield "before the state", dies_in(SumStore, keeps)
    yield "after the state", dies_in(SumStore, keeps, after=True)
    if stage == "masked":
        yield "after reserving", dies_in(SumGuard, "_reserve", after=True)
        yield "after the words", dies_in(SharedSum, "words", after=True)
        yield "before commit", dies_in(LedgerStore, "commit_release")
        yield "after commit", dies_in(LedgerStore, "commit_release", after=True)
        yield "before the mark", dies_in(SumStore, "saw")
        yield "after the mark", dies_in(SumStore, "saw", after=True)
    if stage == "survivors":
        yield "before the row", dies_in(SumGuard, "_agree")
        yield "after the row", dies_in(SumGuard, "_agree", after=True)
    yield "before sending", dies_in(client.app, "answer_sum")
    yield "no crash", lambda: None
    for nth in itertools.count(1):
        yield f"before statement {nth}", dies_at_statement(nth)


def other(session: Session, stage: Stage) -> SumCall:
    """What a server could ask instead, and would be answered."""
    if stage == "keys":
        return session.call("keys", context="ab" * 32)
    if stage == "shares":
        return session.call("shares", KeyList(offers=session.peers.offers[:4]))
    if stage == "masked":
        return session.call("masked", ShareList(shares=session.shares_for(ME).shares[:3]))
    if stage == "survivors":
        return session.call("survivors", SurvivorList(survivors=tuple(sorted(session.words))[:4]))
    return session.call("reveal", AgreementList(agreements=session.signed.agreements[:4]))


def in_child(shop: Any, call: SumCall, arm: Callable[[], None], sent: Path) -> bool:
    """Answer in a child; what it would have sent is in `sent`. Did it die?"""
    sent.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            arm()
            sent.write_text(json.dumps(asked(shop, call)))
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def asked(shop: Any, call: SumCall) -> list[str]:
    """Code and content of the answer."""
    reply = SumReply.from_records(shop.send(call.to_records(), "train.sum").content, call.stage)
    body = "" if reply.body is None else reply.body.model_dump_json()
    words = b"" if reply.words is None else reply.words.tobytes()
    return [reply.code, body + words.hex()]


def copy_of(shop: Any, name: str) -> Any:
    folder = Path(shutil.copytree(shop.folder, shop.folder.with_name(name)))
    return replace(
        shop, folder=folder, context=Context(1, 5, {"home": str(folder)}, RecordDict(), {})
    )


def on_disk(shop: Any, session: Session) -> list[Any]:
    """What a kill left in the states, whatever secrets were drawn."""
    with SumStore.open(shop.folder) as states:
        key, head = key_of(session.task), states.head()
        kept = [states.find(key, stage) for stage in STAGES]
        found = [states.fingerprint(key.job_id), states.newest(key.job_id, key.step)]
        found += [None if one is None else [one.request, one.state != ""] for one in kept]
        return [*found, None if head is None else head.seq]


def report(
    session: Session, stage: Stage, point: str, arm: Callable[[], None], seen: dict[str, str]
) -> dict[str, Any]:
    shop = session.shops[ME]
    same, else_ = session.call(stage, session.body(ME, stage)), other(session, stage)
    copy, sent = copy_of(shop, "copy"), shop.folder.with_name("sent.json")
    died = in_child(copy, same, arm, sent)
    kinds = copy.kinds()
    found = {
        "stage": stage,
        "point": point,
        "died": died,
        "sent": json.loads(sent.read_text()) if sent.exists() else None,
        "after": kinds,
    }
    left = json.dumps([*on_disk(copy, session), *kinds])
    if died and point.startswith("before statement") and left in seen:
        shutil.rmtree(copy.folder)
        return {**found, "like": seen[left]}
    if died:
        seen.setdefault(left, point)
    second = copy_of(copy, "second")
    found["same, other"] = [asked(copy, one) for one in (same, else_, same)]
    found["other, same"] = [asked(second, one) for one in (else_, same, else_)]
    found["finally"] = copy.kinds()
    found["second"] = second.kinds()
    for one in (copy, second):
        shutil.rmtree(one.folder)
    return found


def warm_up(session: Session, stage: Stage) -> None:
    """Load and compute once what every forked child would otherwise load and compute again."""
    warm = copy_of(session.shops[ME], "warm")
    asked(warm, session.call(stage, session.body(ME, stage)))
    shutil.rmtree(warm.folder)
    gc.freeze()  # else the first collection in each child copies all of its pages


def main() -> None:
    run = Path(sys.argv[1])
    shops = {f"shop-{number + 1}": shop_of(run, number) for number in range(5)}
    session = Session(shops)
    for stage in STAGES:
        warm_up(session, stage)
        seen: dict[str, str] = {}
        for point, arm in points(stage):
            found = report(session, stage, point, arm, seen)
            sys.stdout.write(json.dumps(found) + "\n")
            if not found["died"] and point.startswith("before statement"):
                break
        session.go(stage)


if __name__ == "__main__":
    main()
