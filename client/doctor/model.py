"""The model that this client serves: whether there is one, and whether it can be read here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from client.doctor.findings import Finding, Patient, fail, fine, warn
from client.model_pointer import Pointer, damaged
from client.models import MODELS
from client.store import POLICY_TOML
from common.artifacts import MANIFEST
from common.catalogue import Catalogue
from common.config import read_json
from common.errors import Code, ConfigError
from common.manifest import Manifest
from common.models.registry import KINDS

__all__ = ["check_model"]

_REFITTED: Final = "mf"


def check_model(patient: Patient) -> Iterator[Finding]:
    """Which version was delivered last, of which kind, and what that means for the policy."""
    models = patient.folder / MODELS
    pointer = Pointer.read(models)
    if pointer is None:
        yield fine("none was delivered yet", models)
        return
    where = models / pointer.folders[0] / MANIFEST
    manifest = _manifest(where)
    kind = manifest.model
    if kind not in KINDS:
        yield fail(
            f"{pointer.version} is of kind {kind!r}, which this version does not know",
            where,
            "Install the version that the server has; a service that runs keeps what it has.",
            Code.MODEL_KIND,
        )
        return
    yield fine(f"{pointer.version}, promotion {pointer.serial}, of kind {kind}", where)
    catalogue = Catalogue.load((patient.folder / patient.settings.catalogue).resolve())
    if manifest.catalogue_version != catalogue.version:
        yield warn(
            f"{pointer.version} is about another catalogue than the {len(catalogue)} items here",
            where,
            "If the catalogue has grown, its new items wait for the model that has them.",
            Code.ARTIFACT_CATALOGUE,
        )
    if patient.owner.policy.serving == "shop" and kind != _REFITTED:
        yield fine(
            f"of kind {kind} there is no refit: `shop` serving chooses between the model as it "
            "is and one of the shop's own",
            patient.folder / POLICY_TOML,
        )


def _manifest(where: Path) -> Manifest:
    try:
        return Manifest.load(read_json(where), where=str(where))
    except ConfigError as error:
        raise damaged(error.message, error.where) from None
