"""Data for a federation that nobody stands behind: a table of events for each shop, and the items.

The catalogue is the marketplace's own product file. It is not derived from the events: most of
its items are sold by every shop, and some by none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.catalogue import Catalogue
from common.enrolment.folders import new_folder
from common.files import write_atomic
from simulations.marketplace import Marketplace, MarketplaceSettings

__all__ = ["CATALOGUE", "Generated", "generate", "shop_names"]

CATALOGUE: Final = "catalogue.json"
_NAMES: Final = ("north", "south", "east", "west")
_COLUMNS: Final = ["user_id", "item_id", "weight", "datetime"]


@dataclass(frozen=True)
class Generated:
    """Files of a generated federation.

    Attributes:
        catalogue: the public items.
        events: of each shop, by name.
    """

    catalogue: Path
    events: dict[str, Path]


def shop_names(count: int) -> tuple[str, ...]:
    """What shops are called: the quarters of the sky, then numbers."""
    return (*_NAMES[:count], *(f"shop-{number}" for number in range(len(_NAMES) + 1, count + 1)))


def generate(
    folder: Path, *, shops: int = 3, users: int = 600, items: int = 200, seed: int = 0
) -> Generated:
    """Write `catalogue.json` and `NAME.csv` for each shop.

    Args:
        folder: not there yet, or empty.
        shops: how many.
        users: shoppers of each.
        items: in the catalogue.
        seed: the same one gives the same files.

    Raises:
        ConfigError: `enroll-exists`, there is something in the folder.
        DataError: it cannot be written.
    """
    names = shop_names(shops)
    market = Marketplace(
        MarketplaceSettings(
            users=shops * users, shops=shops, items=items, categories=min(20, items // 2), seed=seed
        )
    )
    events = market.events()
    by_shop = dict(zip(market.shop_names, names, strict=True))
    with new_folder(folder) as part:
        _catalogue(market).save(part / CATALOGUE)
        for shop, table in events.groupby("shop", observed=True):
            text = table[_COLUMNS].to_csv(index=False, lineterminator="\n")
            write_atomic(part / f"{by_shop[str(shop)]}.csv", text.encode(), mode=0o600)
    return Generated(folder / CATALOGUE, {name: folder / f"{name}.csv" for name in names})


def _catalogue(market: Marketplace) -> Catalogue:
    products = market.catalogue.astype("str")
    columns = {str(name): tuple(products[name]) for name in products.columns if name != "item_id"}
    return Catalogue(tuple(products["item_id"]), columns)
