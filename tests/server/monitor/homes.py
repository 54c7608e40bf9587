"""A server's home with members and trainings, as enrolment and rounds leave it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from common.enrolment.cards import Card, openssh_line
from common.privacy.signing import SigningKey
from common.schedule import schedule_of
from server.app import read_job
from server.enroll.members import add
from server.record import RoundRecord
from server.registry import Checkpoint, Registry
from tests.client.enroll.shops import enrol_server


def make_home(path: Path, *names: str) -> Path:
    """An enrolled server with members of these names."""
    enrol_server(path)
    for name in names:
        key, node = SigningKey.create(), ec.generate_private_key(ec.SECP384R1())
        line = openssh_line(node.public_key())
        add(path, Card.signed(key, name=name, transport_key=line, roster_key=key.public))
    return path


def make_run(home: Path, name: str, prepared: Path) -> Path:
    """A training that was begun, with the job of a prepared run."""
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    shutil.copy(prepared / "job.json", folder)
    return folder


def make_round(folder: Path, completed: int, refused: Mapping[str, str], **more: Any) -> None:
    """One more round, and the model after the last of three."""
    answered = tuple(name for name in ("east", "north", "south") if name not in refused)
    values: dict[str, Any] = {
        "step": completed - 1, "of": 3, "name": "sum", "answered": answered,
        "refused": dict(refused), "seconds": 1.5, "bytes_down": 1000, "bytes_up": 2000,
        "noise_std": 12.5, "signal_to_noise": 0.25,
    }  # fmt: skip
    job, registry = read_job(folder), Registry(folder / "server")
    schedule = schedule_of(job)
    ones = {"popularity": np.ones(job.n_items), "item_weight": np.ones(job.n_items)}
    state = {**schedule.initial_state(), **ones, "basis": np.eye(job.n_items, 4)}
    checkpoint = Checkpoint(completed, state, {})
    registry.save(job, checkpoint, {"mode": "local"}, RoundRecord(**(values | more)))
    if completed == 3:
        registry.publish(job, schedule.finish(state), checkpoint, {"mode": "local"})
