"""Versions of the shared state on the operator's disk: a checkpoint a step, then the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from common.arrays import State
from common.artifacts import Manifest, load_artifact, save_artifact
from common.config import Settings, read_json
from common.errors import ArtifactError, Code, ConfigError, RunError
from common.files import write_atomic
from common.job import Job
from common.models.base import Model
from common.models.registry import model_from
from common.privacy.heads import SignedHead
from server.record import RoundRecord

__all__ = ["Checkpoint", "Registry"]

_PROGRESS: Final = "progress.json"
_ROUND: Final = "round.json"


class _Progress(Settings):
    """Which checkpoint is current; replaced atomically after the checkpoint is complete."""

    fingerprint: str
    completed: int
    heads: dict[str, SignedHead]
    private: bool
    charged: tuple[int, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A job as far as it has come.

    Attributes:
        completed: steps that are done.
        state: after them.
        heads: the clients' signed heads.
        private: whether all noise was secret.
        charged: of secure sums, how many sessions of each step may have cost clients what a
            release costs.
    """

    completed: int
    state: State
    heads: Mapping[str, SignedHead]
    private: bool = True
    charged: tuple[int, ...] = ()


@dataclass(frozen=True)
class Registry:
    """One run's folder of checkpoints and its model."""

    folder: Path

    def latest(self, job: Job) -> Checkpoint | None:
        """The newest complete checkpoint, None if there is none.

        Raises:
            RunError: `run-mismatch`, the folder holds another job.
            ArtifactError: the checkpoint is damaged or of another catalogue.
        """
        progress = self._progress()
        if progress is None:
            return None
        if progress.fingerprint != job.fingerprint:
            raise RunError(
                Code.RUN_MISMATCH,
                "this folder holds the checkpoints of another job.",
                where=str(self.folder),
                remedy="Resume with the job that was started here, or choose another folder.",
            )
        folder = self._checkpoint(progress.completed)
        try:
            state, manifest = load_artifact(folder, catalogue_version=job.catalogue_version)
        except ArtifactError as error:
            raise _damaged(error.message, error.where) from None
        if (manifest.kind, manifest.job_id, manifest.step) != (
            "checkpoint",
            job.job_id,
            progress.completed,
        ):
            raise _damaged("it is another checkpoint than the one named as current.", str(folder))
        return Checkpoint(
            progress.completed, state, progress.heads, progress.private, progress.charged
        )

    def save(
        self, job: Job, checkpoint: Checkpoint, privacy: Mapping[str, Any], record: RoundRecord
    ) -> None:
        """Write a checkpoint with the record of its round, then point to it.

        Raises:
            DataError: `disk-full`; the checkpoint before stays current.
        """
        manifest = _manifest("checkpoint", job, checkpoint, privacy)
        save_artifact(self._checkpoint(checkpoint.completed), checkpoint.state, manifest)
        text = record.model_dump_json(indent=2)
        write_atomic(self._checkpoint(checkpoint.completed) / _ROUND, text.encode())
        progress = _Progress(
            fingerprint=job.fingerprint,
            completed=checkpoint.completed,
            heads=dict(checkpoint.heads),
            private=checkpoint.private,
            charged=checkpoint.charged,
        )
        write_atomic(self.folder / _PROGRESS, progress.model_dump_json().encode())

    def publish(
        self,
        job: Job,
        model: Model,
        checkpoint: Checkpoint,
        privacy: Mapping[str, Any],
    ) -> Manifest:
        """Write the finished model; one that is whole and of this job stays as it is.

        Computed again, on another machine, it might have other bits, and a job has one model.
        """
        known = self.published(job)
        if known is not None:
            return known
        manifest = _manifest("model", job, checkpoint, privacy)
        manifest = manifest.model_copy(
            update={"settings": model.settings.model_dump(mode="json"), "model": model.kind},
        )
        return save_artifact(self.folder / "model", model.arrays(), manifest)

    def published(self, job: Job) -> Manifest | None:
        """What stands beside the finished model of a job; None if there is none, or half of one.

        Raises:
            ArtifactError: which checkpoint is current cannot be read.
        """
        progress = self._progress()
        if progress is not None and progress.fingerprint != job.fingerprint:
            return None
        try:
            manifest = self.model(job.catalogue_version)[1]
        except ArtifactError:
            return None
        return manifest if manifest.job_id == job.job_id else None

    def model(self, catalogue_version: str) -> tuple[Model, Manifest]:
        """The finished model.

        Raises:
            ArtifactError: missing, damaged, made for another catalogue, or of a kind that is
                not known here.
        """
        folder = self.folder / "model"
        arrays, manifest = load_artifact(folder, catalogue_version=catalogue_version)
        if manifest.kind != "model":
            raise ArtifactError(
                Code.ARTIFACT_INVALID, f"holds a {manifest.kind}, not a model.", where=str(folder)
            )
        model = model_from(manifest.model, manifest.settings, arrays, where=str(folder))
        return model, manifest

    def rounds(self, after: int = 0) -> list[RoundRecord]:
        """The records of completed rounds, in order, of every process that had a part.

        Args:
            after: how many of the first ones to leave out.
        """
        progress = self._progress()
        completed = 0 if progress is None else progress.completed
        return [self._record(done) for done in range(after + 1, completed + 1)]

    def _progress(self) -> _Progress | None:
        path = self.folder / _PROGRESS
        if not path.exists():
            return None
        try:
            return _Progress.load(read_json(path), where=str(path))
        except ConfigError as error:
            raise _damaged(error.message, error.where) from None

    def _record(self, completed: int) -> RoundRecord:
        path = self._checkpoint(completed) / _ROUND
        try:
            return RoundRecord.load(read_json(path), where=str(path))
        except ConfigError as error:
            raise _damaged(error.message, error.where) from None

    def _checkpoint(self, completed: int) -> Path:
        return self.folder / "checkpoints" / f"step-{completed:04d}"


def _damaged(what: str, where: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_INVALID,
        what,
        where=where,
        remedy=f"Restore it, or remove {_PROGRESS} in the folder `server` and resume: clients "
        "repeat what they released, at no cost.",
    )


def _manifest(kind: str, job: Job, checkpoint: Checkpoint, privacy: Mapping[str, Any]) -> Manifest:
    return Manifest(
        kind=kind,
        name=job.solver,
        catalogue_version=job.catalogue_version,
        catalogue_derived=job.catalogue_derived,
        job_id=job.job_id,
        step=checkpoint.completed,
        private=checkpoint.private and job.mode != "none",
        privacy=dict(privacy),
        heads={name: head.model_dump() for name, head in checkpoint.heads.items()},
    )
