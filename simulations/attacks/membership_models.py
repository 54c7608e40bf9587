"""Models for membership inference: each trained by the real path on a coin flip per user.

Coins are independent, so that a user is in or out whatever the others are: then what a
guarantee says of one user added or removed holds, on average over the others, for each user
in the game. A client's declared population is a public constant, the same in every model.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.arrays import Histories
from common.errors import Code, ConfigError
from common.interactions.partition import Partition
from common.job import Job
from common.models.mf import MatrixFactorisation
from common.schedule import schedule_of
from server.record import SilentObserver
from simulations.dataset import Dataset, load_dataset
from simulations.engine.inprocess import InProcessEngine
from simulations.prepare import make_job, prepare
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

__all__ = ["Pool", "half", "seats"]

_SPREADS: Final = 3.0
"""Standard deviations of a coin count above its mean that a client has seats for."""


@dataclass(frozen=True)
class Pool:
    """Users who may or may not be in the training data, and the job for those who are.

    Attributes:
        scenario: how models are trained.
        dataset: everybody.
        job: the same for every model.
    """

    scenario: Scenario
    dataset: Dataset
    job: Job

    @classmethod
    def of(cls, scenario: Scenario) -> Pool:
        """The pool of a scenario: all users of its data.

        Raises:
            ConfigError: `model-kind`, the solver makes a model that the attack cannot read.
            HushRecError: data, settings or plan are not in order.
        """
        dataset = load_dataset(scenario.checked())
        nobody = np.zeros(len(dataset.partition.user_ids), dtype=np.bool_)
        job = make_job(scenario, half(dataset, nobody))
        kind = schedule_of(job).solver.model_kind
        if kind != MatrixFactorisation.kind:
            raise _unreadable(kind)
        return cls(scenario, dataset, job)

    @property
    def histories(self) -> Histories:
        """What the attacker knows of every user: their training events, `[users]`."""
        split = self.dataset.split
        order = split.users.get_indexer(pd.Index(self.dataset.partition.user_ids, dtype="str"))
        # of matrix factorisation, the only kind that is attacked
        return split.histories.unweighted().take(order.astype(np.int64))

    def coins(self, models: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Who is in which model, `[models, users]`: fair coins."""
        return rng.random((models, len(self.dataset.partition.user_ids))) < 0.5

    def train(self, member: NDArray[np.bool_]) -> MatrixFactorisation:
        """The model that the real apps publish when `member` `[users]` are in the data."""
        dataset = half(self.dataset, member)
        with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
            folder = RunFolder.create(Path(scratch) / "run", force=False)
            prepare(folder, self.scenario, dataset, self.job)
            InProcessEngine().run(folder.path, SilentObserver())
            model, _ = folder.registry.model(dataset.catalogue.version)
        if not isinstance(model, MatrixFactorisation):
            raise _unreadable(model.kind)
        return model

    def trained(self, coins: NDArray[np.bool_]) -> Iterator[MatrixFactorisation]:
        """One model after the other, one for each row of `coins`."""
        for member in coins:
            yield self.train(member)


def _unreadable(kind: str) -> ConfigError:
    return ConfigError(
        Code.MODEL_KIND,
        f"the attack reads users off the vectors of matrix factorisation, not off {kind!r}.",
        where="solver",
        remedy="Attack a solver of kind 'mf', or use `audit attack one-run` and `many-run`: "
        "they attack the releases, whatever is made of them.",
    )


def half(dataset: Dataset, member: NDArray[np.bool_]) -> Dataset:
    """The same data with the events of `member` `[users of the partition]` only."""
    users = np.array(dataset.partition.user_ids, dtype=object)[member]
    split = dataset.split
    kept = replace(
        split,
        train=split.train[split.train["user_id"].isin(users)],
        heldout=split.heldout[split.heldout["user_id"].isin(users)],
    )
    return replace(dataset, split=kept, partition=seats(dataset.partition, member))


def seats(partition: Partition, member: NDArray[np.bool_]) -> Partition:
    """Who counts for the declared population: members, and others to a fixed number.

    Each client has half its users and three standard deviations of seats, whoever is a
    member; only a draw beyond that would move the declared constant.
    """
    kept = np.zeros(len(member), dtype=np.bool_)
    for client in range(len(partition.names)):
        users = np.flatnonzero(partition.client == client)
        wanted = min(len(users), math.ceil(len(users) / 2 + _SPREADS * math.sqrt(len(users)) / 2))
        inside, outside = users[member[users]], users[~member[users]]
        kept[inside] = True
        kept[outside[: max(0, wanted - len(inside))]] = True
    ids = tuple(np.array(partition.user_ids, dtype=object)[kept])
    return Partition(partition.names, ids, partition.client[kept])
