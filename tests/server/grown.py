"""A server's home with a catalogue of teas and coffees, and versions made for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.artifacts import save_artifact
from common.catalogue import Catalogue
from common.models.base import Model
from common.models.fold_in import FoldIn
from common.models.mf import MatrixFactorisation
from server.catalogues import home_catalogue
from server.models import Models
from tests.sent_models import HEAD, manifest_of

KNOWN = 40
JOB = "1a2b3c4d" * 4


def product(item: int) -> str:
    """A row of the product file: even ones are teas, odd ones coffees."""
    return (
        f"i{item},green tea {item},tea" if item % 2 == 0 else f"i{item},dark coffee {item},coffee"
    )


def write_products(
    path: Path, items: Sequence[int], header: str = "item_id,title,category"
) -> Path:
    path.write_text("\n".join([header, *map(product, items), ""]))
    return path


def tasteful(n_items: int, seed: int = 0) -> MatrixFactorisation:
    """Vectors of teas point one way, those of coffees another."""
    rng = np.random.default_rng(seed)
    taste = np.where(np.arange(n_items)[:, None] % 2 == 0, [2.0, 0.0], [0.0, 2.0])
    vectors = taste + 0.1 * rng.standard_normal((n_items, 2))
    return MatrixFactorisation.from_embeddings(vectors, 1 + rng.random(n_items), FoldIn())


def register(home: Path, model: Model | None = None, job: str = JOB, **manifest: Any) -> str:
    """The name of a version over the home's catalogue as it is now."""
    catalogue: Catalogue = home_catalogue(home)
    made = tasteful(len(catalogue)) if model is None else model
    settings = made.settings.model_dump(mode="json")
    about = manifest_of(
        made.arrays(), catalogue.version, job_id=job, model=made.kind, settings=settings,
        heads={"shop-1": HEAD.model_dump()}, **manifest,
    )  # fmt: skip
    folder = home.parent / f"run-{job[:8]}"
    save_artifact(folder, made.arrays(), about)
    return Models(home).register(folder.name, folder).version
