"""New items in a version of the model: one more version, its new rows made of features alone.

Guarantee:
    The new version is a function of the released arrays of another one and of public facts
    about items: post-processing, so it costs no budget and promises what the other one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.artifacts import load_artifact
from common.catalogue import Catalogue
from common.errors import ArtifactError, Code, DataError
from common.features.base import ItemEncoder, ItemFeatures, side_by_side
from common.features.hashed import HashedEncoder
from common.features.narrow import Narrowing
from common.features.precomputed import Precomputed
from common.manifest import Added
from common.models.additions import EXTENDABLE, NewItems, not_extendable, with_new_items
from common.models.base import Model
from common.models.registry import model_from
from common.models.shared_arrays import FEATURES
from server.catalogues import catalogue_of, home_catalogue, larger_of
from server.models import Models, Version

__all__ = ["Addition", "add_items"]

_CLOSE: Final = 1e-3
"""Features that were made of the same catalogue twice differ by rounding alone."""
_MOST_WORDS: Final = 4096
"""Of the field `features` of `Added`."""


@dataclass(frozen=True)
class Addition:
    """What came of it.

    Attributes:
        version: the new one.
        item_ids: items that it has and the version that it was made of has not.
        features: in words, what their rows were made of, and of which items nothing is known.
    """

    version: Version
    item_ids: tuple[str, ...]
    features: str


def add_items(home: Path, version_id: str, file: Path | None, vectors: Sequence[Path]) -> Addition:
    """Make a version with more items of one that is there; the same once more is the same one.

    Args:
        home: the server's.
        version_id: to which items are added.
        file: product file of the new items alone; None for those by which the home's catalogue
            has grown since that version was trained.
        vectors: files with vectors of old and new items, beside what the catalogue says.

    Raises:
        ArtifactError: `model-unknown`; `artifact-catalogue`, the version is about other items;
            `model-kind`, none can be added to its kind; `artifact-invalid`.
        DataError: `catalogue-invalid`, an item is known already, columns are others, nothing is
            new, or there is nothing to make features of; `data-format`, vectors that know no
            old or no new item; files that cannot be read, a home that cannot be written.
        ConfigError: `config-not-found`, the home has no catalogue.
    """
    models = Models(home)
    origin = models.version(version_id)
    if origin.manifest.model not in EXTENDABLE:
        raise not_extendable(origin.manifest.model)
    old = catalogue_of(home, origin.folder)
    whole = _whole(home, origin, old, file)
    arrays, manifest = load_artifact(origin.folder)
    model = model_from(manifest.model, manifest.settings, arrays, where=str(origin.folder))
    trained = len(old) if manifest.added is None else manifest.added.trained
    features, words = _features(whole, trained, len(old), vectors)
    new = NewItems(features.values, trained, _read_by_network(model, whole, trained))
    about = Added(
        version=version_id,
        sha256=manifest.sha256,
        trained=trained,
        items=len(whole) - len(old),
        features=words[:_MOST_WORDS],
    )
    changed = {"added": about, "catalogue_version": whole.version}
    larger = with_new_items(model, new)
    made = models.add(larger.arrays(), manifest.model_copy(update=changed), whole)
    return Addition(made, whole.item_ids[len(old) :], f"{words}. {features.summary()}")


def _whole(home: Path, origin: Version, old: Catalogue, file: Path | None) -> Catalogue:
    """The larger catalogue: the home's, and the items of `file` behind it."""
    whole = larger_of(home_catalogue(home), old, str(origin.folder))
    if file is not None:
        whole = whole.with_more(Catalogue.of_federation(file))
    if len(whole) == len(old):
        raise DataError(
            Code.CATALOGUE_INVALID,
            f"{origin.version} has all items of the catalogue already.",
            where=str(origin.folder),
            remedy="Name a product file of new items with --catalogue.",
        )
    return whole


def _features(
    whole: Catalogue, trained: int, known: int, vectors: Sequence[Path]
) -> tuple[ItemFeatures, str]:
    """What the map reads, of old and new items side by side; and what that is, in words."""
    given = [Precomputed.read(path) for path in vectors]
    hashed, columns = _hashed(whole, given)
    for one in given:
        _check_known(one.encode(whole).values, trained, known, one.where, Code.DATA_FORMAT)
    found = side_by_side([*hashed, *given], whole)
    _check_known(found.values, trained, known, "catalogue", Code.CATALOGUE_INVALID)
    said = [f"{', '.join(columns)}, hashed"] if columns else []
    return found, ", ".join([*said, *(f"vectors {_text(path.name)}" for path in vectors)])


def _text(name: str) -> str:
    """A file's name, which may hold bytes that are no text, as a manifest can hold it."""
    return name.encode("utf-8", "replace").decode()


def _hashed(
    whole: Catalogue, given: Sequence[Precomputed]
) -> tuple[list[ItemEncoder], tuple[str, ...]]:
    """What reads the catalogue's own words, and of which columns.

    A catalogue of ids alone will do where vectors are given.
    """
    encoder = HashedEncoder()
    read = (*encoder.settings.texts, *encoder.settings.labels)
    columns = tuple(name for name in read if name in whole.metadata)
    return ([] if given and not columns else [encoder]), columns


def _check_known(
    values: NDArray[np.float32], trained: int, known: int, where: str, code: Code
) -> None:
    """Nothing can be learned without items that were trained, or said of none of the new ones."""
    for rows, which in ((values[:trained], "trained"), (values[known:], "new")):
        if not rows.any():
            raise DataError(
                code,
                f"holds no features of any {which} item.",
                where=where,
                remedy="Give features of the version's items and of the new ones, made alike.",
            )


def _read_by_network(model: Model, whole: Catalogue, trained: int) -> NDArray[np.float32] | None:
    """What a network reads of the new items, made as it was for the trained ones.

    Raises:
        ArtifactError: `artifact-invalid`, those were made in another way.
    """
    old = model.arrays().get(FEATURES)
    if old is None:
        return None
    values = HashedEncoder().encode(whole).values
    narrowing = Narrowing.of(values[:trained], old.shape[1])
    if not np.allclose(narrowing.narrow(values[:trained]), old[:trained], atol=_CLOSE):
        raise ArtifactError(
            Code.ARTIFACT_INVALID,
            "its network reads features that were not made with the default settings, and the "
            "version does not say how.",
            where=FEATURES,
            remedy="Train anew with the new items in the catalogue.",
        )
    return narrowing.narrow(values[model.n_items :])
