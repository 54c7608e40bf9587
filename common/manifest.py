"""What stands beside the arrays of a model: read where the arrays themselves are not."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer

from common.config import Settings

__all__ = ["Added", "Manifest", "VersionId"]

VersionId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9]{4,9}-[0-9a-f]{8}$")]
"""Name of a version of the model: its number and the start of the job's id, `0003-1a2b3c4d`."""

_MF: Final = "mf"


class Added(Settings):
    """Of a version with items that its training never saw: where the rest is from."""

    version: VersionId
    """The version that they were added to; its rows are here as they are there."""
    sha256: str
    """Hash of that version's arrays."""
    trained: int = Field(ge=1)
    """Items that training knew: the first rows. All behind them were made of features alone."""
    items: int = Field(ge=1)
    """How many rows behind those of `version` are new with this one."""
    features: str = Field(max_length=4096)
    """What they were made of."""


class Manifest(Settings):
    """What stands beside the arrays of a model or checkpoint."""

    kind: str
    """`model` or `checkpoint`."""
    name: str
    """Name of the model or solver."""
    model: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = _MF
    """Kind of the model, a name in `common.models.registry.KINDS`. `mf` is left out where a
    manifest is written: files and signatures stay as they were when there was no other kind."""
    catalogue_version: str
    """Content hash of the catalogue whose order the rows follow."""
    catalogue_derived: bool = False
    """The catalogue itself was read off the events, and not released with noise."""
    job_id: str
    """The job that made it."""
    step: int
    """Steps completed."""
    private: bool
    """False if anything in it was made without a guarantee, with seeded noise included."""
    privacy: dict[str, Any]
    """Mode, unit, neighbouring relation, accountant, δ, and ε of the whole plan at each
    client (null where no guarantee holds), in words as `guarantee`, and the releases."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings that the model needs to score and fold in; empty for a checkpoint."""
    heads: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Ledger head that each client signed with its last release in it: number and hash of the
    row, key and signature."""
    sha256: str = ""
    """Hash of the arrays file; filled in by `save_artifact`."""
    added: Added | None = None
    """Items that were added after training; left out where there are none."""

    @model_serializer(mode="wrap")
    def _as_written(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = written(self)
        if values.get("model") == _MF:
            del values["model"]
        if values.get("added") is None:
            values.pop("added", None)
        return values
