"""Users dealt out to named clients; a user belongs to exactly one.

By a column (the natural regions), by hash (alike), by taste (a Dirichlet prior over tastes,
Hsu, Qi and Brown 2019, arXiv:1909.06335, section 3, with tastes in the place of labels), or
by a list of sizes. Nothing depends on the order of rows or on Python's own hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from common.arrays import Ints
from common.errors import Code, DataError
from common.interactions.tastes import tastes_of_users

__all__ = ["Partition", "by_column", "by_hash", "by_sizes", "dirichlet"]

_LARGEST_ALPHA = 1e6  # far beyond it the draws of any generator are zeros
_OTHER = "other"
_UNKNOWN = "unknown"
_SALT = "hushrec/partition/1"


@dataclass(frozen=True)
class Partition:
    """Which client each user belongs to. Sensitive.

    Attributes:
        names: `[clients]`, distinct.
        user_ids: `[users]`, sorted.
        client: `[users]`, position of each user's client in `names`.
        notes: what had to be decided on the way, counted.

    Raises:
        DataError: `data-partition` for a client without users or a user named twice.
    """

    names: tuple[str, ...]
    user_ids: tuple[str, ...]
    client: Ints
    notes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.user_ids) != len(self.client) or len(set(self.user_ids)) != len(self.user_ids):
            raise _bad("a user is named twice or has no client.")
        if len(set(self.names)) != len(self.names):
            raise _bad("two clients have the same name.")
        if len(self.client) and not 0 <= self.client.min() <= self.client.max() < len(self.names):
            raise _bad("a user belongs to a client that does not exist.")
        empty = [name for name, size in zip(self.names, self.sizes, strict=True) if not size]
        if empty:
            raise _bad(f"clients without a user: {', '.join(empty[:5])}.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Users of each client."""
        return tuple(np.bincount(self.client, minlength=len(self.names)).tolist())

    def users(self, name: str) -> tuple[str, ...]:
        """The users of one client, sorted."""
        position = self.names.index(name)
        return tuple(self.user_ids[row] for row in np.flatnonzero(self.client == position))

    def split(self, events: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """The rows of each client, in their order.

        Raises:
            DataError: `data-partition` when an event is of a user who has no client.
        """
        rows = pd.Index(self.user_ids, dtype="str").get_indexer(pd.Index(events["user_id"]))
        if (rows < 0).any():
            raise _bad(f"user {events['user_id'].to_numpy()[np.argmax(rows < 0)]!r} has no client.")
        client = self.client[rows]
        return {
            name: events.loc[client == position].reset_index(drop=True)
            for position, name in enumerate(self.names)
        }


def by_hash(events: pd.DataFrame, clients: int) -> Partition:
    """Deal users out evenly in the order of a salted SHA-256 of their ids.

    Sizes differ by one at most: 6040 users make 8 clients of 755, 32 of 188 or 189.

    Raises:
        DataError: `data-partition` for fewer than one client or more clients than users.
    """
    users = _users(events)
    _check_clients(clients, len(users))
    digests = [hashlib.sha256(f"{_SALT}\0{user}".encode()).digest() for user in users]
    client = np.empty(len(users), dtype=np.int64)
    client[sorted(range(len(users)), key=digests.__getitem__)] = np.arange(len(users)) % clients
    return Partition(_names(clients), users, client)


def by_sizes(
    events: pd.DataFrame, sizes: Sequence[int], seed: int, names: Sequence[str] | None = None
) -> Partition:
    """Clients of exactly these sizes, users drawn at random.

    Args:
        events: an event table.
        sizes: users of each client; they must sum to the users there are.
        seed: of the draw.
        names: of the clients; None numbers them.

    Raises:
        DataError: `data-partition`.
    """
    users = _users(events)
    if not len(sizes) or min(sizes) < 1:
        raise _bad("every size must be at least 1.", "sizes")
    if sum(sizes) != len(users):
        raise _bad(f"the sizes sum to {sum(sizes)}, and there are {len(users)} users.", "sizes")
    client = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    np.random.default_rng(seed).shuffle(client)
    return Partition(tuple(names) if names is not None else _names(len(sizes)), users, client)


def by_column(events: pd.DataFrame, values: pd.Series[str], *, min_users: int = 1) -> Partition:
    """One client for each value of a column.

    A user with several values belongs to the most frequent, ties to the one that comes first
    in the table; users without any to `unknown`. Values with fewer than `min_users` users
    are joined into `other`, however few that makes.

    Args:
        events: an event table.
        values: of its rows, same order.
        min_users: smallest client that stands alone.

    Returns:
        Clients sorted by name, `other` last. `notes` counts `users_with_several_values`,
        `users_without_value` and `joined_values`.

    Raises:
        DataError: `data-partition` when the column has not one value for each row.
    """
    if len(values) != len(events):
        raise _bad(f"{len(values)} values for {len(events)} rows.", "column")
    users = _users(events)
    texts = values.astype("str").where(values.notna(), "").str.strip()
    frame = pd.DataFrame({"user_id": events["user_id"].to_numpy(), "value": texts.to_numpy()})
    frame["row"] = np.arange(len(frame))
    frame = frame.loc[frame["value"] != ""]
    grouped = frame.groupby(["user_id", "value"], sort=False)["row"].agg(["size", "min"])
    ranked = grouped.reset_index().sort_values(["size", "min"], ascending=[False, True])
    home = ranked.drop_duplicates("user_id").set_index("user_id")["value"].reindex(list(users))
    notes = {
        "users_with_several_values": int((ranked["user_id"].value_counts() > 1).sum()),
        "users_without_value": int(home.isna().sum()),
    }
    home = home.fillna(_UNKNOWN)
    counts = home.value_counts()
    small = counts.index[counts < min_users]
    notes["joined_values"] = len(small)
    home = home.where(~home.isin(small), _OTHER)
    names = sorted(set(home), key=lambda name: (name == _OTHER, name))
    client = pd.Index(names, dtype="str").get_indexer(pd.Index(home, dtype="str"))
    return Partition(tuple(map(str, names)), users, client.astype(np.int64), notes)


def dirichlet(
    events: pd.DataFrame,
    clients: int,
    alpha: float,
    seed: int,
    categories: Mapping[str, str] | None = None,
) -> Partition:
    """Clients of different tastes.

    Each user has one taste (`tastes_of_users`: the category that most of the weight is in,
    or a cluster of users with like items where no categories are known). The users of a
    taste are shared among the clients by proportions drawn from Dirichlet(`alpha`): 0.1 is
    very skewed, 100 nearly alike. A client that gets nobody takes one user from the largest.

    Args:
        events: an event table.
        clients: how many.
        alpha: concentration, positive, 1e6 at most.
        seed: of all draws.
        categories: category by item id, several joined by `|` of which the first counts.

    Returns:
        `notes` counts `tastes` and `users_moved` to clients that would be empty.

    Raises:
        DataError: `data-partition`.
    """
    if not 0 < alpha <= _LARGEST_ALPHA:
        raise _bad(f"alpha must be in (0, {_LARGEST_ALPHA:g}], not {alpha}.", "dirichlet")
    users = _users(events)
    _check_clients(clients, len(users))
    rng = np.random.default_rng(seed)
    tastes = tastes_of_users(events, users, categories, rng)
    client = np.empty(len(users), dtype=np.int64)
    for taste in np.unique(tastes):
        members = rng.permutation(np.flatnonzero(tastes == taste))
        counts = rng.multinomial(len(members), rng.dirichlet(np.full(clients, alpha)))
        client[members] = np.repeat(np.arange(clients), counts)
    moved = _fill_empty(client, clients, rng)
    notes = {"tastes": len(np.unique(tastes)), "users_moved": moved}
    return Partition(_names(clients), users, client, notes)


def _fill_empty(client: Ints, clients: int, rng: np.random.Generator) -> int:
    moved = 0
    for empty in np.flatnonzero(np.bincount(client, minlength=clients) == 0):
        largest = np.argmax(np.bincount(client, minlength=clients))
        client[rng.choice(np.flatnonzero(client == largest))] = empty
        moved += 1
    return moved


def _users(events: pd.DataFrame) -> tuple[str, ...]:
    users = tuple(sorted(map(str, events["user_id"].unique())))
    if not users:
        raise _bad("there are no users.")
    return users


def _names(clients: int) -> tuple[str, ...]:
    width = max(2, len(str(clients)))
    return tuple(f"shop-{number:0{width}d}" for number in range(1, clients + 1))


def _check_clients(clients: int, users: int) -> None:
    if clients < 1:
        raise _bad(f"{clients} clients; at least 1 is needed.", "clients")
    if clients > users:
        raise _bad(f"{clients} clients, and only {users} users.", "clients")


def _bad(message: str, where: str = "partition") -> DataError:
    remedy = "Ask for clients that the users can fill, each user in one."
    return DataError(Code.DATA_PARTITION, message, where=where, remedy=remedy)
