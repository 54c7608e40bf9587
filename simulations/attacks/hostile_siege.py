"""A siege: a hostile server against three clients, and what each of them gave away."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np

from client.guard.admission import close_job
from client.ledger_store import LedgerStore
from client.store import POLICY_TOML
from common.errors import PolicyError
from common.files import write_atomic
from common.privacy.policy import Policy
from common.privacy.signing import SigningKey
from common.protocol import OK
from server.app import read_job
from server.keys import server_key
from simulations.attacks.hostile_server import HONEST, SMALL, HostileServer
from simulations.attacks.hostile_target import Answer, Shot, Target
from simulations.attacks.hostile_verdict import Verdict, judge
from simulations.attacks.hostile_ways import WAYS, Volley
from simulations.dataset import load_dataset
from simulations.engine.folders import client_folders
from simulations.marketplace import MarketplaceSettings
from simulations.policies import policy_toml
from simulations.prepare import make_job, prepare
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

__all__ = ["Siege", "besiege"]

_HONEST_SHARE: Final = 0.25
_CLOSES: Final = 0.01
_MINUTES: Final = 10
_BEGIN: Final = datetime(2030, 1, 1, tzinfo=UTC)
_DELTA: Final = 1e-5
_POLICIES: Final[tuple[dict[str, Any], ...]] = (
    {
        "lifetime": {"epsilon": 4.0, "delta": _DELTA},
        "periods": ({"days": 7, "epsilon": 2.5},),
        "max_releases": 20,
    },
    {"lifetime": {"epsilon": 6.0, "delta": _DELTA}, "renyi_order": 8},
    {"lifetime": {"epsilon": 4.0, "delta": _DELTA}, "max_sampling_rate": 0.5},
)
"""A client with a GDP filter and a period, one with a Rényi filter, one that allows nothing."""
_SHARES: Final = (0.5, 0.4, 0.1)
_LARGEST: Final = 100_000


@dataclass(frozen=True)
class Siege:
    """What was asked, and what came of it.

    Attributes:
        answers: every answer, by client.
        verdicts: what each client gave away.
        seconds: how long it took.
    """

    answers: dict[str, list[Answer]]
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def tried(self) -> int:
        """Messages that were sent."""
        return sum(map(len, self.answers.values()))

    @property
    def got_through(self) -> int:
        """Everything that should be 0, over all clients."""
        return sum(verdict.got_through for verdict in self.verdicts)

    def kinds(self) -> list[dict[str, Any]]:
        """By what was tried: how often, how often answered, and the codes of the rest."""
        everything = self._everything
        rows = []
        for kind in (HONEST, *WAYS):
            found = [answer for answer in everything if answer.kind == kind]
            codes = Counter(answer.code for answer in found if answer.code != OK)
            rows.append(
                {
                    "tried": kind,
                    "messages": len(found),
                    "answered": sum(answer.code == OK for answer in found),
                    "refused": codes.total(),
                    "codes": dict(codes.most_common()),
                }
            )
        return rows

    def solvers(self) -> list[dict[str, Any]]:
        """By solver of the job that a message names: how often, and steps that were released."""
        rows = []
        for solver in SMALL:
            found = [answer for answer in self._everything if answer.solver == solver]
            released = {(a.job_id, a.step) for a in found if a.digest is not None}
            rows.append({"solver": solver, "messages": len(found), "steps released": len(released)})
        return rows

    @property
    def _everything(self) -> list[Answer]:
        return [answer for answers in self.answers.values() for answer in answers]


def besiege(folder: Path, requests: int, seed: int, processes: int = 0) -> Siege:
    """Lay three clients out in `folder` and send about `requests` messages to them.

    Args:
        folder: an empty folder.
        requests: how many messages; a volley that was begun is finished.
        seed: decides what is asked; noise is the operating system's.
        processes: clients' processes that answer at once; 0 takes threads instead.
    """
    began = time.monotonic()
    run, second = _lay_out(folder, seed), SigningKey.create()
    keys = (server_key(run.path), second)
    targets = [
        _target(*pair, keys) for pair in zip(client_folders(run.path), _POLICIES, strict=True)
    ]
    answers: dict[str, list[Answer]] = {target.name: [] for target in targets}
    with ExitStack() as stack:
        pool = None
        if processes:
            pool = stack.enter_context(ProcessPoolExecutor(processes, get_context("spawn")))
        for number, (target, share) in enumerate(zip(targets, _SHARES, strict=True)):
            rng = np.random.default_rng([seed, number])
            server = HostileServer(target, read_job(run.path), keys, rng)
            while len(answers[target.name]) < share * requests:
                answers[target.name] += _send(server, _volley(server), pool)
                _time_passes(server)
    verdicts = tuple(judge(target, answers[target.name]) for target in targets)
    return Siege(answers, verdicts, time.monotonic() - began)


def _lay_out(path: Path, seed: int) -> RunFolder:
    market = MarketplaceSettings(
        users=150, items=60, categories=4, shop_sizes=(50, 50, 50), seed=seed
    )
    scenario = Scenario(
        marketplace=market, partition="column:shop", min_users=1, rounds=1, dim=3, delta=_DELTA
    )
    dataset = load_dataset(scenario)
    folder = RunFolder.create(path, force=False)
    prepare(folder, scenario, dataset, make_job(scenario, dataset))
    return folder


def _target(folder: Path, policy: dict[str, Any], keys: Sequence[SigningKey]) -> Target:
    known = {"servers": tuple(key.public for key in keys), "max_message_bytes": _LARGEST}
    text = policy_toml(Policy.load({**policy, **known}))
    write_atomic(folder / POLICY_TOML, text.encode())
    return Target(folder, _BEGIN)


def _volley(server: HostileServer) -> Volley:
    if server.rng.random() < _HONEST_SHARE:
        return Volley([server.honest()])
    kind = server.one(list(WAYS))
    made = WAYS[kind](server, kind)
    return made if isinstance(made, Volley) else Volley([made])


def _send(server: HostileServer, volley: Volley, pool: ProcessPoolExecutor | None) -> list[Answer]:
    target, shots = server.target, volley.shots
    if volley.how == "processes" and pool is not None:
        asked = [(target.folder, target.clock(), shot) for shot in shots]
        answers = list(pool.map(_send_in_child, asked))
    elif len(shots) > 1:
        with ThreadPoolExecutor(len(shots)) as threads:
            answers = list(threads.map(target.send, shots))
    else:
        answers = [target.send(shot) for shot in shots]
    for shot, answer in zip(shots, answers, strict=True):
        server.learn(shot, answer)
    return answers


def _send_in_child(asked: tuple[Path, datetime, Shot]) -> Answer:
    logging.getLogger("hushrec.client").setLevel(logging.CRITICAL)
    folder, now, shot = asked
    return Target(folder, now).send(shot)


def _time_passes(server: HostileServer) -> None:
    """Minutes go by; now and then the owner ends a job that nobody finished."""
    target = server.target
    target.now += timedelta(minutes=_MINUTES)
    if not server.open_jobs or server.rng.random() >= _CLOSES:
        return
    job_id, settings = server.one(server.open_jobs), target.store.settings
    path = target.store.ledger_path
    with (
        LedgerStore.open(path, settings.name, settings.dataset_id, clock=target.clock) as ledger,
        suppress(PolicyError),  # another volley finished or closed it
    ):
        close_job(ledger, job_id)
    server.forget(job_id)
