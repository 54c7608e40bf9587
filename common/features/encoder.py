"""Titles through a text model: a protocol, and an adapter for a model that lies on this disk.

Nothing here reaches the network. The text model is an extra (`pip install 'hushrec[text]'`) and
its weights are a folder that somebody has fetched and vetted beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from common.catalogue import Catalogue
from common.errors import Code, ConfigError, DataError
from common.features.base import ItemFeatures, unit_rows

__all__ = ["SentenceModel", "TextEncoder", "TextModel"]

_PACKAGE: Final = "sentence_transformers"
_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5")


class TextModel(Protocol):
    """Makes vectors of texts."""

    def vectors(self, texts: Sequence[str]) -> NDArray[Any]:
        """One vector for each text, `[texts, width]`."""
        ...


class TextEncoder:
    """The text of some columns through a text model; an `ItemEncoder`.

    Guarantee:
        An item's row is a function of that item's text and the model. The model must be public
        and must not have been trained on the federation's events; then features are public.

    Args:
        model: makes the vectors.
        columns: joined by `. ` in this order; those that a catalogue lacks are passed over.
    """

    def __init__(self, model: TextModel, columns: Sequence[str] = ("title", "category")) -> None:
        self._model = model
        self._columns = tuple(columns)

    def encode(self, catalogue: Catalogue) -> ItemFeatures:
        """Rows of norm 1, zero for items without text, `[items, width]`.

        Raises:
            DataError: `catalogue-invalid`, no item has text in these columns; `data-format`,
                the model gave something else than one finite vector for each text.
        """
        known = [catalogue.metadata[name] for name in self._columns if name in catalogue.metadata]
        texts = [". ".join(filter(None, cells)) for cells in zip(*known, strict=True)]
        rows = [row for row, text in enumerate(texts) if text]
        if not rows:
            raise DataError(
                Code.CATALOGUE_INVALID,
                f"no item has text in the columns {', '.join(self._columns)}.",
                where="catalogue",
                remedy="Take a product file with titles, or name its columns.",
            )
        vectors = np.asarray(self._model.vectors([texts[row] for row in rows]))
        if vectors.ndim != 2 or len(vectors) != len(rows):
            raise DataError(
                Code.DATA_FORMAT,
                f"vectors of shape {vectors.shape} for {len(rows)} texts.",
                where="text model",
            )
        values = np.zeros((len(catalogue), vectors.shape[1]), dtype=np.float32)
        values[rows] = unit_rows(vectors)
        bare = set(range(len(catalogue))).difference(rows)
        return ItemFeatures(values, tuple(catalogue.item_ids[row] for row in sorted(bare)))


class SentenceModel:
    """A sentence-transformers model in a folder; a `TextModel`. Use `load`.

    Its last bits may differ between machines, as those of every network do: make the vectors
    once and hand them out (`Precomputed`) where all have to agree.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> Self:
        """Load the model in `folder`, from there alone and without running code of its own.

        Args:
            folder: what `SentenceTransformer.save` wrote, its weights as safetensors.
            device: where it computes, as torch names it.

        Raises:
            ConfigError: `config-invalid`, the package is not installed.
            DataError: `data-not-found`, no such folder; `data-format`, weights that would have
                to be unpickled, or no model that the package can load.
        """
        if find_spec(_PACKAGE) is None:
            raise ConfigError(
                Code.CONFIG_INVALID,
                "the package sentence-transformers is not installed.",
                where="text model",
                remedy="Install the extra: pip install 'hushrec[text]', or use hashed features.",
            )
        _check_folder(folder)
        package = import_module(_PACKAGE)
        try:
            return cls(
                package.SentenceTransformer(
                    str(folder),
                    device=device,
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                )
            )
        except Exception as error:  # noqa: BLE001 — whatever its many parts raise
            raise DataError(
                Code.DATA_FORMAT,
                f"no model that sentence-transformers can load: {error}.",
                where=str(folder),
                remedy="Save it with SentenceTransformer.save, safetensors and all.",
            ) from None

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector for each text, `[texts, width]`."""
        found = self._model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(
            Code.DATA_NOT_FOUND,
            "no such folder.",
            where=str(folder),
            remedy="Give the folder of a model that was fetched beforehand.",
        )
    pickled = sorted(p.name for p in folder.rglob("*") if p.suffix in _PICKLED)
    if pickled:
        raise DataError(
            Code.DATA_FORMAT,
            f"{', '.join(pickled)}: loading such a file can run code.",
            where=str(folder),
            remedy="Keep the weights as safetensors alone.",
        )
