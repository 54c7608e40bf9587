"""What comes after the last round: the model registered, promoted if asked for, delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flwr.serverapp import Grid

from server.delivery import deliver, promoted_message, send
from server.job_files import JOB_FILE, read_job
from server.models import Models
from server.registry import Registry
from server.training.folder import OK, Outcome
from server.training.request import Request

__all__ = ["DELIVERY", "deliver_promoted", "finished", "is_made"]

DELIVERY: Final = "delivery"
"""Folder of the last delivery that was asked for by itself, in the server's home."""
_DELIVERY_SECONDS: Final = 120.0
"""How long clients have to take a model."""


def is_made(run: Path, home: Path) -> bool:
    """Whether a run's model is there, registered or not yet: nobody need be asked for it.

    Raises:
        HushRecError: the job, or what is said of versions or checkpoints, cannot be read.
    """
    if not (run / JOB_FILE).exists():
        return False
    job = read_job(run)
    if Models(home).of_job(job.job_id) is not None:
        return True
    return Registry(run / "server").published(job) is not None


def finished(grid: Grid, run: Path, home: Path, request: Request) -> Outcome:
    """Register the model of a run; promote and deliver it where the request says so.

    A run that is finished again keeps its version, and promotes nothing twice.

    Raises:
        ArtifactError: it may not be promoted, or is damaged.
        DataError: the home cannot be written.
    """
    models = Models(home)
    known = models.of_job(read_job(run).job_id)
    version = known or models.register(run.name, run / "server" / "model")
    if not request.promote:
        return Outcome(run_id=0, code=OK, version=version.version)
    earlier = [one for one in models.promotions if one.version == version.version]
    promotion = earlier[-1] if earlier else models.promote(version.version)
    seconds = min(request.deadline_seconds, _DELIVERY_SECONDS)
    return Outcome(
        run_id=0,
        code=OK,
        version=version.version,
        promotion=promotion.serial,
        delivered=deliver(grid, home, seconds),
    )


def deliver_promoted(grid: Grid, run_id: int, home: Path) -> None:
    """Deliver the promoted model, and write which it is and who has it to `delivery/outcome.json`.

    Raises:
        HushRecError: it cannot be delivered; it is in `outcome.json` too.
    """
    folder = home / DELIVERY
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        message = promoted_message(home)
        delivered = send(grid, message, _DELIVERY_SECONDS)
    except Exception as error:
        Outcome.of_error(run_id, error).save(folder)
        raise
    Outcome(
        run_id=run_id,
        code=OK,
        version=message.version,
        promotion=message.serial,
        delivered=delivered,
    ).save(folder)
