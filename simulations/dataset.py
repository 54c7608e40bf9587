"""What a scenario trains on: events, catalogue, the split, and who owns which user."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.catalogue import Catalogue
from common.evaluation import protocols
from common.evaluation.protocols import Split
from common.interactions.partition import Partition
from common.interactions.partition_spec import make_partition, parse_partition
from common.interactions.raw import PublishedSplit, Rejected
from common.interactions.readers import read_events
from simulations.marketplace import Marketplace
from simulations.scenario import Scenario

__all__ = ["Dataset", "load_dataset"]


@dataclass(frozen=True)
class Dataset:
    """Everything about the data of one run; the lab alone sees it whole.

    Attributes:
        name: where it came from.
        catalogue: the public items.
        split: what trains and what is held out.
        partition: the client of every user in `split.users`.
        rejected: rows of the file that were set aside, None for synthetic data.
        warnings: what a reader of the report must know.
    """

    name: str
    catalogue: Catalogue
    split: Split
    partition: Partition
    rejected: Rejected | None
    warnings: tuple[str, ...]

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of each part that decides a run: equal if and only if the data are."""
        split, partition = self.split, self.partition
        users = pd.DataFrame(
            {
                "user_id": pd.Series(partition.user_ids, dtype="str"),
                "client": pd.Series(partition.names, dtype="str").take(partition.client).array,
            }
        )
        negatives = np.zeros((0, 0), np.int64) if split.negatives is None else split.negatives
        return {
            "catalogue": self.catalogue.version,
            "train": _table_hash(split.train[["user_id", "item_id", "weight", "datetime"]]),
            "heldout": _table_hash(split.heldout[["user_id", "item_id"]]),
            "negatives": _array_hash(negatives),
            "partition": _table_hash(users),
        }


@dataclass(frozen=True)
class _Source:
    name: str
    events: pd.DataFrame
    extra: pd.DataFrame
    catalogue: Catalogue
    published: PublishedSplit | None
    rejected: Rejected | None
    warnings: tuple[str, ...]


def _table_hash(table: pd.DataFrame) -> str:
    return _array_hash(pd.util.hash_pandas_object(table, index=False).to_numpy())


def _array_hash(values: NDArray[np.integer[Any]]) -> str:
    shape = repr(values.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(values, "<u8").tobytes()).hexdigest()


def load_dataset(scenario: Scenario) -> Dataset:
    """Read or make the data, split it, and deal out its users.

    Raises:
        DataError: what cannot be read, split or dealt out.
    """
    source = _marketplace(scenario) if scenario.data is None else _file(scenario, scenario.data)
    split = _split(scenario, source)
    return Dataset(
        name=source.name,
        catalogue=source.catalogue,
        split=split,
        partition=_partition(scenario, source, split),
        rejected=source.rejected,
        warnings=source.warnings + _about_ratings(scenario, split.train["weight"]),
    )


def _marketplace(scenario: Scenario) -> _Source:
    market = Marketplace(scenario.synthetic)
    frame = market.events()
    columns = ["user_id", "item_id", "weight", "datetime"]
    products = market.catalogue.astype("str")
    catalogue = Catalogue(
        tuple(products["item_id"]),
        {name: tuple(products[name]) for name in products.columns if name != "item_id"},
    )
    name = f"marketplace, seed {scenario.synthetic.seed}"
    extra = frame.drop(columns=columns).astype("str")
    return _Source(name, frame[columns], extra, catalogue, None, None, ())


def _file(scenario: Scenario, data: str) -> _Source:
    products = None
    if scenario.catalogue is not None:
        products = Catalogue.read_product_file(Path(scenario.catalogue))
    file = read_events(data, catalogue=products)
    warnings = []
    if products is None:
        products = file.catalogue()
        warnings.append(
            "The catalogue was derived from the events: in simulation only, since it tells that "
            "somebody bought each item."
        )
    if file.rejected.n_rows:
        warnings.append(f"{file.rejected.summary()} See rejected.csv.")
    if file.clock == "none" and (file.split is None or scenario.validation):
        warnings.append(
            "The file carries no times: the held-out event of a user is an arbitrary one of "
            "theirs, chosen by a hash."
        )
    if file.clock == "none" and scenario.solver in ("sequential", "transitions"):
        warnings.append(
            "The file carries no times: a sequential model learns from an order that is none."
        )
    return _Source(
        Path(data).name,
        file.events,
        file.extra,
        products,
        file.split,
        file.rejected,
        tuple(warnings),
    )


def _about_ratings(scenario: Scenario, weights: pd.Series[float]) -> tuple[str, ...]:
    wanted = scenario.solver == "neural" and scenario.settings.get("loss") == "explicit"
    if not wanted or weights.min() < weights.max():
        return ()
    return ("All events have the same weight: there are no ratings to predict.",)


def _split(scenario: Scenario, source: _Source) -> Split:
    items = pd.Index(source.catalogue.item_ids, dtype="str")
    events = pd.concat([source.events, source.extra.add_prefix("extra:")], axis=1)
    rng = np.random.default_rng([scenario.seed, 0])
    if scenario.protocol == "temporal":
        split = protocols.temporal(events, items)
    elif scenario.protocol == "ncf" and source.published is not None:
        split = protocols.from_published(events, source.published, items)
    elif scenario.protocol == "ncf":
        split = protocols.ncf(events, items, rng)
    else:
        split = protocols.leave_one_out(_with_published(events, source.published), items)
    if scenario.validation:
        split = protocols.validation_split(split, np.random.default_rng([scenario.seed, 1]))
    return split


def _with_published(events: pd.DataFrame, published: PublishedSplit | None) -> pd.DataFrame:
    """Under other protocols the published held-out events are events like any, the last ones."""
    if published is None:
        return events
    heldout = pd.DataFrame(
        {
            "user_id": pd.Series(published.user_ids, dtype="str"),
            "item_id": pd.Series(published.item_ids, dtype="str"),
            "weight": published.weights,
            "datetime": events["datetime"].max() + pd.Timedelta(seconds=1),
        }
    )
    return pd.concat([events, heldout], ignore_index=True)


def _partition(scenario: Scenario, source: _Source, split: Split) -> Partition:
    train = split.train
    extra = train.filter(like="extra:").rename(columns=lambda name: name.removeprefix("extra:"))
    spec = parse_partition(scenario.partition_spec)
    return make_partition(
        spec,
        train[["user_id", "item_id", "weight", "datetime"]],
        extra,
        clients=scenario.clients if scenario.clients is not None else 8,
        seed=scenario.seed,
        categories=source.catalogue.categories,
        min_users=scenario.min_users,
    )
