"""What users contribute, sound and broken, for the tests of every mechanism."""

from dataclasses import replace

import numpy as np

from common.privacy.contributions import SparseRows
from common.privacy.grid import quantise
from common.privacy.rank_one import RankOne


def sparse(users, rows_of_user, width=3, seed=0):
    lengths = [len(rows) for rows in rows_of_user]
    rows = np.array([row for rows in rows_of_user for row in rows], dtype=np.int64)
    values = np.random.default_rng(seed).normal(size=(len(rows), width))
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return SparseRows(np.array(users, dtype=np.int64), indptr, rows, values)


def rank_one(rng, users, n_rows, width):
    rows = [np.sort(rng.choice(n_rows, rng.integers(0, n_rows), replace=False)) for _ in users]
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return RankOne(
        np.asarray(users, dtype=np.int64),
        indptr,
        np.concatenate(rows).astype(np.int64) if rows else np.empty(0, np.int64),
        rng.normal(size=indptr[-1]),
        rng.normal(size=(len(users), width)),
    )


def shared_rank_one(rng, users, n_rows, width, shared):
    """The same with rows that everybody has, some of them a user's own too."""
    own = rank_one(rng, users, n_rows, width)
    return replace(
        own,
        shared_rows=np.sort(rng.choice(n_rows, shared, replace=False)).astype(np.int64),
        shared_left=rng.normal(size=(len(users), shared)),
    )


def oracle_sum(batches, plan_release, clip_grid):
    """User by user and entry by entry, with Python's own integers."""
    total = [[0] * plan_release.width for _ in range(plan_release.rows)]
    for batch in batches:
        for block in batch.expand(10**9):
            for user in range(len(block.users)):
                mine = slice(block.indptr[user], block.indptr[user + 1])
                values = block.values[mine]
                alone = SparseRows(
                    block.users[user : user + 1],
                    np.array([0, len(values)]),
                    block.rows[mine],
                    values,
                )
                units = quantise(alone, plan_release.clip_norm, clip_grid)
                for row, entries in zip(block.rows[mine], units, strict=True):
                    for column, unit in enumerate(entries):
                        total[row][column] += int(unit)
    return np.array(total)


BAD = {
    "user twice in a batch": [sparse([2, 2], [[0], [1]])],
    "users out of order": [sparse([5, 2], [[0], [1]])],
    "user twice over batches": [sparse([2, 5], [[0], [1]]), sparse([5, 6], [[0], [1]])],
    "batches out of order": [sparse([5], [[0]]), sparse([2], [[1]])],
    "negative user": [sparse([-1], [[0]])],
    "row twice": [sparse([2], [[3, 3]])],
    "rows out of order": [sparse([2, 5], [[0], [3, 1]])],
    "row too large": [sparse([2], [[7]])],
    "row negative": [sparse([2], [[-1]])],
    "wrong width": [sparse([2], [[0]], width=2)],
    "users are not integers": [
        SparseRows(np.array([0.5]), *_rest)
        for _rest in [(np.array([0, 1]), np.array([0]), np.zeros((1, 3)))]
    ],
    "indptr too short": [
        SparseRows(np.array([0, 1]), np.array([0, 1]), np.array([0]), np.zeros((1, 3)))
    ],
    "indptr past the rows": [
        SparseRows(np.array([0]), np.array([0, 1]), np.empty(0, np.int64), np.zeros((0, 3)))
    ],
    "indptr falls": [
        SparseRows(np.array([0, 1]), np.array([0, 2, 1]), np.array([0]), np.zeros((1, 3)))
    ],
}


class AsIs:
    """A batch that writes itself out unchanged, to reach the checks."""

    def __init__(self, block):
        self.block = block
        self.users = block.users

    def expand(self, max_values):
        yield self.block
