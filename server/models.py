"""Versions of the model at the server: what trainings came to, and which one is promoted.

    models/VERSION/            arrays, manifest, and `version.json`: of which run, since when;
                               where items were added to it, `catalogue.json` of all of them
    models/promotions.jsonl    one line a promotion, numbered; only ever appended to

Guarantee:
    A version is whole under its name or not there at all, and never changes. A promotion is on
    the disk before its number is told to anybody, and no number is given twice.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from common.arrays import State
from common.artifacts import MANIFEST, arrays_to_bytes, load_artifact, save_artifact
from common.catalogue import Catalogue
from common.config import Settings, read_json
from common.errors import ArtifactError, Code, ConfigError, DataError, RunError
from common.files import sync_folder, write_atomic
from common.folder_lock import folder_lock
from common.manifest import Manifest, VersionId
from server.catalogues import catalogue_of, grow_catalogue
from server.enroll.home import CATALOGUE
from server.promotions import Promotion, Promotions

__all__ = ["MODELS", "Models", "Promotion", "Version"]

MODELS: Final = "models"
"""The folder, in the server's home."""
_ABOUT: Final = "version.json"
_PART: Final = ".part"


class _About(Settings):
    """`version.json`."""

    version: VersionId
    run: str
    """Name of the run's folder."""
    at: str
    """When it was registered, UTC."""


@dataclass(frozen=True)
class Version:
    """A finished model.

    Attributes:
        version: its name.
        run: name of the run that made it.
        at: when it was registered, UTC.
        manifest: what stands beside its arrays.
        folder: where it is.
    """

    version: str
    run: str
    at: str
    manifest: Manifest
    folder: Path

    @property
    def number(self) -> int:
        """Which registration it was, from 1."""
        return int(self.version.partition("-")[0])


@dataclass(frozen=True)
class Models:
    """The models in a server's home.

    Attributes:
        home: the server's.
    """

    home: Path

    def register(self, run_name: str, artifact_folder: Path) -> Version:
        """Copy a finished model in; a job that is registered keeps the version it has.

        Args:
            run_name: name of the run that made it.
            artifact_folder: what `Registry.publish` wrote.

        Raises:
            ArtifactError: `artifact-invalid`, it is damaged, or no model.
            RunError: `run-mismatch`, its job is registered with other arrays.
            DataError: `disk-full`, or the home cannot be written.
        """
        arrays, manifest = load_artifact(artifact_folder)
        if manifest.kind != "model":
            raise ArtifactError(
                Code.ARTIFACT_INVALID,
                f"holds a {manifest.kind}, not a model.",
                where=str(artifact_folder),
            )
        with self._alone():
            registered = self.of_job(manifest.job_id)
            if registered is not None:
                return _same(registered, manifest, artifact_folder)
            return self._write(run_name, arrays, manifest)

    def add(self, arrays: State, manifest: Manifest, catalogue: Catalogue) -> Version:
        """Keep a version that was made of another one; made once more it is the same version.

        Args:
            arrays: of the model.
            manifest: says in `added` which version it was made of.
            catalogue: whose order the rows follow.

        Raises:
            ArtifactError: `model-unknown`, the manifest names no version that is here;
                `artifact-invalid`, as `versions`.
            DataError: `disk-full`, or the home cannot be written.
        """
        origin = self.version("" if manifest.added is None else manifest.added.version)
        digest = hashlib.sha256(arrays_to_bytes(arrays)).hexdigest()
        manifest = manifest.model_copy(update={"sha256": digest})
        with self._alone():
            for one in self.versions():
                if one.manifest == manifest:
                    return one
            return self._write(origin.run, arrays, manifest, catalogue)

    def _write(
        self, run: str, arrays: State, manifest: Manifest, catalogue: Catalogue | None = None
    ) -> Version:
        """The next version, whole under its name; who calls is the only one who writes."""
        number = 1 + max((version.number for version in self.versions()), default=0)
        about = _About(version=f"{number:04d}-{manifest.job_id[:8]}", run=run, at=_now())
        place = self._models / about.version
        part = self._models / f".{about.version}{_PART}"
        for left in self._models.glob(f".*{_PART}"):
            shutil.rmtree(left, ignore_errors=True)
        written = save_artifact(part, arrays, manifest)
        if catalogue is not None:
            catalogue.save(part / CATALOGUE)
        write_atomic(part / _ABOUT, about.model_dump_json(indent=2).encode())
        sync_folder(part)
        part.rename(place)
        sync_folder(self._models)
        return Version(about.version, run, about.at, written, place)

    def versions(self) -> list[Version]:
        """All versions, the oldest first.

        Raises:
            ArtifactError: `artifact-invalid`, what is said about one is damaged; arrays are
                looked at when a version is promoted or delivered.
        """
        found = [_read(path.parent) for path in self._models.glob(f"[0-9]*/{_ABOUT}")]
        return sorted(found, key=lambda version: version.number)

    def of_job(self, job_id: str) -> Version | None:
        """What a job came to, without what was added; None as long as it is not registered.

        Raises:
            ArtifactError: `artifact-invalid`, as `versions`.
        """
        for one in self.versions():
            if one.manifest.job_id == job_id and one.manifest.added is None:
                return one
        return None

    def version(self, version_id: str) -> Version:
        """One version.

        Raises:
            ArtifactError: `model-unknown`, there is none of that name; `artifact-invalid`.
        """
        known = {version.version: version for version in self.versions()}
        if version_id not in known:
            raise ArtifactError(
                Code.MODEL_UNKNOWN,
                f"there is no version {version_id!r}.",
                where=str(self._models),
                remedy=f"Versions: {', '.join(known) or 'none yet'}.",
            )
        return known[version_id]

    def promote(self, version_id: str, *, not_private: bool = False) -> Promotion:
        """Make a version the one that clients are sent.

        Items that were added to it are in the home's catalogue from then on, for trainings too.

        Args:
            version_id: its name.
            not_private: the operator has said in words that a model without a guarantee may be
                promoted.

        Raises:
            ArtifactError: `model-unknown`; `model-not-private`, its manifest names no
                guarantee and nobody said that it may be; `artifact-invalid`, it is damaged;
                `artifact-catalogue`, its items and the home's are not one list.
            DataError: the promotion cannot be written.
        """
        version = self.version(version_id)
        load_artifact(version.folder)
        if not version.manifest.private and not not_private:
            raise ArtifactError(
                Code.MODEL_NOT_PRIVATE,
                f"{version_id} was made without a guarantee: exact sums, or noise from a seed.",
                where=str(version.folder),
                remedy="Add --not-private if everybody whose data it was made of knows that.",
            )
        with self._alone():
            if version.manifest.added is not None:
                grow_catalogue(self.home, catalogue_of(self.home, version.folder))
            return self._promotions.append(version_id, _now())

    def rollback(self) -> Promotion:
        """Promote once more what was promoted before the current version.

        Rolling back again goes back further.

        Raises:
            ArtifactError: `model-missing`, nothing was promoted before it; `artifact-invalid`,
                it is damaged.
            DataError: the promotion cannot be written.
        """
        with self._alone():
            earlier = self._promotions.before_current()
            if earlier is None:
                raise ArtifactError(
                    Code.MODEL_MISSING,
                    "no other version was promoted before this one.",
                    where=str(self._promotions.path),
                    remedy="`hushrec server promote` takes any version of the list.",
                )
            load_artifact(self.version(earlier.version).folder)
            return self._promotions.append(earlier.version, _now(), back_to=earlier)

    @property
    def current(self) -> Promotion | None:
        """The newest promotion.

        Raises:
            ArtifactError: `artifact-invalid`, the list of promotions is damaged.
        """
        return self._promotions.current

    @property
    def promotions(self) -> list[Promotion]:
        """All promotions, the oldest first.

        Raises:
            ArtifactError: `artifact-invalid`, the list is damaged.
        """
        return self._promotions.read()

    @property
    def _models(self) -> Path:
        return self.home / MODELS

    @property
    def _promotions(self) -> Promotions:
        return Promotions(self._models / "promotions.jsonl")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time writes."""
        try:
            self._models.mkdir(parents=True, exist_ok=True)
            with folder_lock(self._models):
                yield
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise DataError(
                Code.DISK_FULL if full else Code.DATA_NOT_FOUND,
                f"cannot be written: {error.strerror}.",
                where=str(self._models),
                remedy="Make room on the disk." if full else "Check the folder's permissions.",
            ) from None


def _same(version: Version, manifest: Manifest, folder: Path) -> Version:
    if version.manifest.sha256 != manifest.sha256:
        raise RunError(
            Code.RUN_MISMATCH,
            f"its job is registered as {version.version}, with other arrays.",
            where=str(folder),
            remedy="A job has one model: train anew, as another job.",
        )
    return version


def _read(folder: Path) -> Version:
    try:
        about = _About.load(read_json(folder / _ABOUT), where=str(folder / _ABOUT))
        manifest = Manifest.load(read_json(folder / MANIFEST), where=str(folder / MANIFEST))
    except ConfigError as error:
        raise ArtifactError(
            Code.ARTIFACT_INVALID,
            error.message,
            where=error.where,
            remedy="Restore the version from its backup, or move its folder out of `models`.",
        ) from None
    return Version(about.version, about.run, about.at, manifest, folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
