"""Kinds of models by name. A new kind is one new file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, cast

from numpy.typing import NDArray

from common.config import Settings
from common.errors import ArtifactError, Code, ConfigError
from common.models.base import Model, ModelClass
from common.privacy.inbound import ArraySpec

__all__ = ["KINDS", "model_class", "model_from", "model_specs"]

KINDS: Final[Mapping[str, str]] = {
    "mf": "common.models.mf:MatrixFactorisation",
    "sequential": "common.models.sequential:Sequential",
    "neural": "common.models.neural:Neural",
    "transitions": "common.models.transitions:Transitions",
}
"""Name to `module:class`, loaded when asked for: whoever serves `mf` alone needs no torch."""


def model_class(kind: str, *, where: str = "model") -> ModelClass:
    """The class of a kind of models.

    Args:
        kind: a name in `KINDS`, as somebody else may have written it.
        where: file or message that names it, for the error.

    Raises:
        ArtifactError: `model-kind`, this version does not know the kind, or lacks a package
            that it needs.
    """
    if kind not in KINDS:
        raise _unknown(f"a model of kind {kind[:32]!r}, which this version does not know.", where)
    module, _, attribute = KINDS[kind].partition(":")
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        raise _unknown(
            f"a model of kind {kind!r} needs the module {error.name}, which is not installed.",
            where,
        ) from None
    return cast("ModelClass", getattr(loaded, attribute))


def model_from(
    kind: str,
    settings: Settings | Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    *,
    where: str = "model",
) -> Model:
    """The model that a kind, its settings and its arrays make.

    Args:
        kind: a name in `KINDS`.
        settings: of the kind's class, or what its `model_dump` wrote.
        arrays: as `Model.arrays` returns them.
        where: file or message that they come from, for the error.

    Raises:
        ArtifactError: `model-kind`, or `artifact-invalid`: they make none.
    """
    loaded = model_class(kind, where=where)
    return loaded.from_arrays(arrays, _settings(loaded, settings, where))


def model_specs(
    kind: str,
    settings: Settings | Mapping[str, Any],
    n_items: int,
    arrays: Mapping[str, NDArray[Any]],
    *,
    where: str = "model",
) -> Mapping[str, ArraySpec]:
    """What a receiver demands of each array of a model that it is sent.

    Args:
        kind: a name in `KINDS`.
        settings: as for `model_from`.
        n_items: size of the receiver's catalogue.
        arrays: that were sent; only their names and shapes are read.
        where: message that they come from, for the error.

    Raises:
        ArtifactError: `model-kind`, or `artifact-invalid` for the settings.
        InboundError: `inbound-array`, the shapes are none that the kind can have.
    """
    loaded = model_class(kind, where=where)
    return loaded.specs(n_items, _settings(loaded, settings, where), arrays)


def _settings(loaded: ModelClass, settings: Settings | Mapping[str, Any], where: str) -> Settings:
    if isinstance(settings, Settings):
        return settings
    try:
        return loaded.Settings.load(settings, where=where)
    except ConfigError as error:
        raise ArtifactError(Code.ARTIFACT_INVALID, error.message, where=where) from None


def _unknown(message: str, where: str) -> ArtifactError:
    return ArtifactError(
        Code.MODEL_KIND,
        message,
        where=where,
        remedy="Nothing was taken: install the version and the packages that its server has.",
    )
