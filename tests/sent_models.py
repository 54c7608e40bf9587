"""Models as a server registers and sends them, small ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.artifacts import Manifest, arrays_to_bytes, save_artifact
from common.models.base import Model
from common.models.mf import FoldIn, MatrixFactorisation
from common.privacy.heads import SignedHead
from common.privacy.signing import SigningKey
from common.protocol import ModelMessage

HEAD = SignedHead.sign(SigningKey.create(), "shop-1", 5, "a" * 64)
PRIVACY = {
    "mode": "local", "unit": "user", "neighbouring": "add/remove", "accountant": "PLD",
    "delta": 1e-5, "epsilon": 2.0, "guarantee": "ε = 2 at δ = 1e-05, unit user (add/remove)",
}  # fmt: skip


def a_model(n_items: int = 60, dim: int = 4, seed: int = 0) -> MatrixFactorisation:
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(n_items, dim))
    return MatrixFactorisation.from_embeddings(vectors, 1 + draw.random(n_items), FoldIn())


def manifest_of(
    arrays: dict[str, NDArray[Any]], catalogue_version: str = "c" * 64, **changes: Any
) -> Manifest:
    values: dict[str, Any] = {
        "kind": "model", "name": "subspace", "catalogue_version": catalogue_version,
        "job_id": "1a2b3c4d" * 4, "step": 3, "private": True, "privacy": PRIVACY,
        "settings": FoldIn().model_dump(mode="json"),
        "sha256": hashlib.sha256(arrays_to_bytes(arrays)).hexdigest(),
    }  # fmt: skip
    return Manifest.load({**values, **changes})


def a_message(
    key: SigningKey,
    serial: int = 1,
    *,
    catalogue_version: str = "c" * 64,
    n_items: int = 60,
    seed: int = 0,
    version: str = "",
    **manifest: Any,
) -> ModelMessage:
    """Promotion `serial` of the version of this seed, signed by `key`."""
    arrays = a_model(n_items, seed=seed).arrays()
    about = manifest_of(arrays, catalogue_version, **manifest)
    name = version or f"{seed + 1:04d}-{about.job_id[:8]}"
    return ModelMessage(serial, name, about, arrays).signed(key)


def a_message_of(
    model: Model, key: SigningKey, serial: int, catalogue_version: str, **manifest: Any
) -> ModelMessage:
    """Promotion `serial` of a model of any kind."""
    values = {
        "model": model.kind,
        "settings": model.settings.model_dump(mode="json"),
        **manifest,
    }
    about = manifest_of(model.arrays(), catalogue_version, **values)
    version = f"{serial:04d}-{about.job_id[:8]}"
    return ModelMessage(serial, version, about, model.arrays()).signed(key)


def finished(folder: Path, job_id: str, seed: int = 0, **manifest: Any) -> Path:
    """A folder as `Registry.publish` leaves it."""
    arrays = a_model(seed=seed).arrays()
    heads = {"shop-1": HEAD.model_dump()}
    about = manifest_of(arrays, **{"job_id": job_id, "heads": heads, **manifest})
    save_artifact(folder, arrays, about)
    return folder
