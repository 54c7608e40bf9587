"""Arrays on disk and on the wire: safetensors beside a JSON manifest; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as _load
from safetensors.numpy import save as _save

from common.arrays import State
from common.config import read_json
from common.errors import ArtifactError, Code, ConfigError
from common.files import write_atomic
from common.manifest import Manifest

__all__ = [
    "Manifest",
    "arrays_from_bytes",
    "arrays_to_bytes",
    "load_artifact",
    "save_artifact",
]

ARRAYS = "arrays.safetensors"
MANIFEST = "manifest.json"


def arrays_to_bytes(arrays: State) -> bytes:
    """Serialise arrays deterministically (safetensors sorts by name)."""
    return _save({name: np.asarray(array, order="C") for name, array in sorted(arrays.items())})


def arrays_from_bytes(blob: bytes, *, where: str = "") -> dict[str, NDArray[Any]]:
    """Read what `arrays_to_bytes` wrote.

    Raises:
        ArtifactError: `artifact-invalid`, the bytes are not safetensors.
    """
    try:
        return dict(_load(blob))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            Code.ARTIFACT_INVALID, f"not a safetensors file: {error}.", where=where
        ) from None


def save_artifact(folder: Path, arrays: State, manifest: Manifest) -> Manifest:
    """Write arrays, then manifest, into `folder`, so that a manifest never lacks its arrays."""
    blob = arrays_to_bytes(arrays)
    complete = manifest.model_copy(update={"sha256": hashlib.sha256(blob).hexdigest()})
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / ARRAYS, blob)
    text = json.dumps(complete.model_dump(mode="json"), indent=2, sort_keys=True)
    write_atomic(folder / MANIFEST, text.encode())
    return complete


def load_artifact(
    folder: Path, *, catalogue_version: str | None = None
) -> tuple[dict[str, NDArray[Any]], Manifest]:
    """Read arrays and manifest, and check that they belong together.

    Args:
        folder: where `save_artifact` wrote.
        catalogue_version: refuse an artefact made for another catalogue; None accepts any.

    Raises:
        ArtifactError: missing, damaged, or made for another catalogue.
    """
    manifest, blob = _read(folder)
    if hashlib.sha256(blob).hexdigest() != manifest.sha256:
        raise ArtifactError(
            Code.ARTIFACT_INVALID,
            "the arrays do not have the hash that the manifest names.",
            where=str(folder / ARRAYS),
            remedy="The file was changed or cut short: restore it, or go back one checkpoint.",
        )
    if catalogue_version is not None and manifest.catalogue_version != catalogue_version:
        raise ArtifactError(
            Code.ARTIFACT_CATALOGUE,
            f"made for catalogue {manifest.catalogue_version[:12]}, "
            f"but the catalogue here is {catalogue_version[:12]}.",
            where=str(folder),
            remedy="Use the catalogue that the model was trained with, or train anew.",
        )
    return arrays_from_bytes(blob, where=str(folder / ARRAYS)), manifest


def _read(folder: Path) -> tuple[Manifest, bytes]:
    where = str(folder / MANIFEST)
    try:
        manifest = Manifest.load(read_json(folder / MANIFEST), where=where)
        return manifest, (folder / ARRAYS).read_bytes()
    except ConfigError as error:
        raise ArtifactError(Code.ARTIFACT_INVALID, error.message, where=where) from None
    except OSError as error:
        raise ArtifactError(
            Code.ARTIFACT_INVALID, f"cannot be read: {error}.", where=str(folder)
        ) from None
