"""Canary users: shadow users whose whole history is one item that nobody else holds.

Such a user is the strongest that fits through the real training path: in every solver the
contribution stays on the item's own row, or nearly so, has the largest norm that the step
allows, and is orthogonal to everybody else's there, so that all canaries can be looked for in
one run without hiding each other. They live in shadow data alone: a simulated shop of
synthetic users.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from client.store import CLIENT_TOML, ClientSettings
from common.arrays import Histories, Ints
from common.catalogue import Catalogue
from common.errors import Code, ConfigError
from common.files import write_parquet
from simulations.dataset import Dataset

__all__ = ["Canaries", "check_shadow"]

_NAME: Final = "canary-"
_EVENTS: Final = "events.parquet"


@dataclass(frozen=True)
class Canaries:
    """Users who may be in, and their items.

    Attributes:
        item_ids: `[canaries]`, one for each; user and item have the same name.
        items: `[canaries]`, their positions in the catalogue, increasing.
        n_items: size of the catalogue with them.
    """

    item_ids: tuple[str, ...]
    items: Ints
    n_items: int

    @classmethod
    def beside(cls, dataset: Dataset, count: int) -> tuple[Canaries, Dataset]:
        """`count` canaries for shadow data, and the data with their items in the catalogue.

        The catalogue is public and lists all items, whoever will be in. Users and declared
        population of the data stay as they are.

        Raises:
            ConfigError: `config-invalid`, the data are not the marketplace's.
        """
        if not dataset.name.startswith("marketplace"):
            raise _not_shadow(f"canaries would be planted beside the users of {dataset.name}", "")
        before = dataset.catalogue
        names = tuple(f"{_NAME}{number:06d}" for number in range(count))
        metadata = {key: (*column, *[""] * count) for key, column in before.metadata.items()}
        catalogue = Catalogue((*before.item_ids, *names), metadata)
        items = np.arange(len(before), len(catalogue), dtype=np.int64)
        return cls(names, items, len(catalogue)), replace(dataset, catalogue=catalogue)

    @property
    def histories(self) -> Histories:
        """What each canary contributes from, in or not, `[canaries]`."""
        count = len(self.items)
        return Histories(np.arange(count + 1), self.items, np.ones(count), self.n_items)

    def coins(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Who is in: a fair coin for each, `[canaries]`."""
        return rng.random(len(self.items)) < 0.5

    def plant(self, folder: Path, included: NDArray[np.bool_]) -> None:
        """Add the events of `included` `[canaries]` to the log of a simulated client.

        Guarantee:
            The log of a deployed client is never touched.

        Raises:
            ConfigError: `config-invalid`, the client is not simulated, or somebody already
                holds a canary's item.
        """
        check_shadow(folder)
        events = pd.read_parquet(folder / _EVENTS)
        if events["item_id"].isin(self.item_ids).any():
            raise _not_shadow("somebody already holds a canary's item", str(folder))
        names = pd.Series(self.item_ids, dtype="str")[included]
        added = pd.DataFrame(
            {
                "user_id": names,
                "item_id": names,
                "weight": 1.0,
                "datetime": events["datetime"].iloc[0],
            }
        )
        both = pd.concat([events, added.astype(events.dtypes.to_dict())], ignore_index=True)
        write_parquet(folder / _EVENTS, both)


def check_shadow(folder: Path) -> None:
    """Refuse a folder that is not a simulated client's.

    Raises:
        ConfigError: `config-invalid` if its owner did not lay it out for a simulation, or
            the file that says so cannot be read.
    """
    if not ClientSettings.load_toml(folder / CLIENT_TOML).simulated:
        raise _not_shadow("the client is deployed: canaries belong into shadow data", str(folder))


def _not_shadow(what: str, where: str) -> ConfigError:
    return ConfigError(
        Code.CONFIG_INVALID,
        f"{what}.",
        where=where or "audit canaries",
        remedy="Audit a simulated shop; `hushrec audit attack one-run` makes one of its own.",
    )
