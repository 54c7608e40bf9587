"""Catalogues at the server: the one that trainings are about, and those of versions.

    catalogue.json                    the federation's; it only ever grows, at its end
    models/VERSION/catalogue.json     of a version to which items were added

Guarantee:
    Of two catalogues that were in use here one begins with the other, item by item, so that
    row i of a model is the same item in both.
"""

from __future__ import annotations

from pathlib import Path

from common.artifacts import load_artifact
from common.catalogue import Catalogue
from common.errors import ArtifactError, Code, ConfigError
from common.models.shared_arrays import POPULARITY_ARRAY
from server.enroll.home import CATALOGUE

__all__ = ["catalogue_of", "grow_catalogue", "home_catalogue", "larger_of"]


def home_catalogue(home: Path) -> Catalogue:
    """The catalogue that trainings are about.

    Raises:
        ConfigError: `config-not-found`, the home has none.
        DataError: it cannot be read.
    """
    path = home / CATALOGUE
    if not path.exists():
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            "the server's home has no catalogue, and a job names its version and size.",
            where=str(path),
            remedy="Put the federation's catalogue.json there.",
        )
    return Catalogue.load(path)


def catalogue_of(home: Path, version: Path) -> Catalogue:
    """The catalogue whose order the rows of a version follow.

    Args:
        home: the server's.
        version: the version's folder.

    Raises:
        ConfigError: `config-not-found`, neither has one.
        DataError: it cannot be read.
        ArtifactError: `artifact-catalogue`, the home's does not begin with the version's.
    """
    arrays, manifest = load_artifact(version)
    if (version / CATALOGUE).exists():
        found = Catalogue.load(version / CATALOGUE)
    else:
        found = home_catalogue(home)
        found = found.first(len(arrays.get(POPULARITY_ARRAY, found)))
    if found.version != manifest.catalogue_version:
        raise _other(version.name, str(home / CATALOGUE))
    return found


def larger_of(one: Catalogue, other: Catalogue, where: str = "catalogue") -> Catalogue:
    """Of two catalogues the one that begins with the other.

    Raises:
        ArtifactError: `artifact-catalogue`, neither does.
    """
    small, large = sorted((one, other), key=len)
    if not large.begins_with(small.version, len(small)):
        raise _other("one of them", where)
    return large


def grow_catalogue(home: Path, theirs: Catalogue) -> None:
    """The home's catalogue is `theirs` from now on, unless it has those items already.

    Raises:
        ArtifactError: `artifact-catalogue`, the two are not beginnings of one list.
        DataError: it cannot be read or written.
    """
    path = home / CATALOGUE
    ours = home_catalogue(home)
    if larger_of(ours, theirs, str(path)).version != ours.version:
        theirs.save(path)


def _other(version: str, where: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_CATALOGUE,
        f"{version} is about other items than the first ones of this server's catalogue.",
        where=where,
        remedy="Take the catalogue that it was made for; or add the new items once more, to a "
        "version of this catalogue.",
    )
