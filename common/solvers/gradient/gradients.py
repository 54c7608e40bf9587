"""Gradients of networks: of each user alone for a mechanism, or of all together without one.

The loss is differentiated by vectors that were gathered beforehand, so what is written is one
row for each item that a user's loss reads. `vmap` makes the gradients of the dense parameters
of every user at once; a matrix product for each user takes as long as the one product for all
that a step without privacy makes (Bu et al. 2023, "Differentially private optimization on large
model at small cost", section 3, count both).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import grad, vmap

from common.arrays import Floats, Ints
from common.errors import Code, PrivacyError
from common.models.networks.base import Dropout, Network
from common.models.networks.packing import Packing
from common.privacy.gathered import GatheredRows
from common.privacy.samplers.parallel import cores
from common.solvers.gradient.examples import Batch, empty_padded

__all__ = ["CHUNK", "Gradients", "Held", "device"]

CHUNK = 32
"""Users whose gradients are made together; a chunk with fewer is filled up with nobody."""
_MOST_THREADS = 8
# MKL, where torch has it, rounds a product by how its operands are aligned in memory, which is a
# matter of the place in a chunk; in this mode it does not. Read at its first call in a process.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")
# What cuBLAS needs to make a product the same way each time. Read at its first call too.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
_ONE_AT_A_TIME = Lock()
"""Held while settings of torch are changed: they are those of the whole process."""


def device() -> torch.device:
    """Where networks are computed: CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Held:
    """Which vectors of items there are, where not all are.

    Attributes:
        items: increasing, `[held]`.
        n_items: in all.
    """

    items: Ints
    n_items: int

    def places(self, items: Ints) -> Ints:
        """Where the vectors of `items` stand, in the shape of `items`.

        Raises:
            PrivacyError: `contribution-invalid`, of one of them there is none.
        """
        at = np.searchsorted(self.items, items)
        if not np.array_equal(self.items.take(at, mode="clip"), items):
            raise PrivacyError(
                Code.CONTRIBUTION_INVALID,
                "the vector of an item is read that was not asked for.",
                where="gradients",
                remedy="This is a defect of the solver: `rows_read` must say all that it reads.",
            )
        return at


@dataclass(frozen=True)
class Gradients:
    """What is differentiated.

    Attributes:
        network: the loss.
        table: vectors of all items, `[items, dim]`; or of those in `held`.
        dense: the other parameters, `[rows, dim]`, as `packing` has them.
        packing: of the dense parameters.
        train_items: whether vectors of items have gradients too.
        features: public ones of all items, `[items, width]`, which stand behind the vectors
            that a network is given; None for none.
        held: which items `table` has; None for all.
    """

    network: Network
    table: NDArray[Any]
    dense: NDArray[Any]
    packing: Packing
    train_items: bool
    features: NDArray[Any] | None = None
    held: Held | None = None

    def of_each(self, users: Ints, batch: Batch, shared: Ints) -> Iterator[GatheredRows]:
        """Gradients of each user, unclipped, in chunks.

        Guarantee:
            A user's gradients are made by operations whose shapes do not depend on who else
            takes part, in a slot of their own: nobody's presence moves a bit of another's
            (held by a test, on the machine that runs it; with MKL and odd widths, where this
            module was loaded before MKL's first call). Nor does the number of cores: a chunk
            is one thread's, and chunks come in order. On CUDA the shapes are the same and
            an algorithm that may give another result each time raises, but no GPU has yet run
            the test: until yours has, it is an expectation.

        Args:
            users: positions, increasing, `[batch]`.
            batch: their examples.
            shared: items that everybody is given, increasing.
        """
        starts = list(range(0, len(users), CHUNK))

        def chunk(start: int) -> GatheredRows:
            part = slice(start, start + CHUNK)
            example = {name: values[part] for name, values in batch.example.items()}
            return self._chunk(users[part], Batch(batch.own[part], example), shared)

        at_once = min(cores(), _MOST_THREADS) if device().type == "cpu" else 1
        for first in range(0, len(starts), at_once):
            yield from _side_by_side(chunk, starts[first : first + at_once])

    def of_all(
        self, batch: Batch, shared: Ints, dropout: Dropout | None
    ) -> tuple[NDArray[Any], Floats]:
        """The plain sum over users, for mode `none`.

        Returns:
            Gradient by the table `[items, dim]` (empty where items are not trained) and by
            the dense parameters `[rows, dim]`.
        """
        where = device()
        own_rows = np.maximum(batch.own, 0)
        table = torch.from_numpy(np.asarray(self.table, np.float32)).to(where)
        table.requires_grad_(self.train_items)
        dense = {k: v.requires_grad_() for k, v in self._dense(where).items()}
        own, beside = (
            _joined(table[torch.from_numpy(rows).to(where)], self._public(rows, where))
            for rows in (own_rows, shared)
        )
        losses = self.network.losses(dense, own, beside, _on(where, batch.example), dropout)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        packed = self.packing.pack({name: _gradient(value) for name, value in dense.items()})
        if not self.train_items:
            return np.zeros((0, self.packing.width)), packed
        return _gradient(table), packed

    def _chunk(self, users: Ints, batch: Batch, shared: Ints) -> GatheredRows:
        where, count = device(), len(users)
        filled = empty_padded(batch, CHUNK)
        own_rows = np.maximum(filled.own, 0)
        own, beside = (self._vectors(rows, where) for rows in (own_rows, shared))
        facts, facts_beside = (self._public(rows, where) for rows in (own_rows, shared))
        dense, example = self._dense(where), _on(where, filled.example)
        by = (0, 1, 2) if self.train_items else (0,)
        single = vmap(grad(self._loss, argnums=by), in_dims=(None, 0, None, 0, 0, None))
        of_dense, *of_items = single(dense, own, beside, example, facts, facts_beside)
        flat = torch.cat([of_dense[name].flatten(1) for name in self.packing.shapes], dim=1)
        return self._contribution(users, batch.own, shared, _numpy(flat, count), of_items)

    def _contribution(
        self,
        users: Ints,
        own_rows: Ints,
        shared: Ints,
        of_dense: NDArray[Any],
        of_items: list[torch.Tensor],
    ) -> GatheredRows:
        count, width, first = len(users), self.packing.width, 0
        if of_items:
            own_values, shared_values = (_numpy(values, count) for values in of_items)
            first = len(self.table) if self.held is None else self.held.n_items
        else:
            own_rows, shared = np.zeros((count, 0), np.int64), np.zeros(0, np.int64)
            own_values = shared_values = np.zeros((count, 0, width), np.float32)
        rows = range(first, first + self.packing.rows)
        return GatheredRows(users, own_rows, own_values, shared, shared_values, rows, of_dense)

    def _loss(
        self,
        dense: Mapping[str, torch.Tensor],
        own: torch.Tensor,
        shared: torch.Tensor,
        example: Mapping[str, torch.Tensor],
        facts: torch.Tensor,
        facts_beside: torch.Tensor,
    ) -> torch.Tensor:
        vectors = _joined(own, facts), _joined(shared, facts_beside)
        return self.network.losses(dense, *vectors, example)

    def _vectors(self, rows: Ints, where: torch.device) -> torch.Tensor:
        at = rows if self.held is None else self.held.places(rows)
        return torch.from_numpy(np.asarray(self.table[at], np.float32)).to(where)

    def _public(self, rows: Ints, where: torch.device) -> torch.Tensor:
        """Features of the items in `rows`, `[..., width]`."""
        if self.features is None:
            return torch.zeros((*rows.shape, 0), device=where)
        return torch.from_numpy(np.asarray(self.features[rows], np.float32)).to(where)

    def _dense(self, where: torch.device) -> dict[str, torch.Tensor]:
        named = self.packing.unpack(np.asarray(self.dense, np.float32))
        return {name: torch.tensor(value, device=where) for name, value in named.items()}


def _side_by_side(work: Callable[[int], GatheredRows], starts: list[int]) -> list[GatheredRows]:
    """What `work` makes of each of `starts`, in order, each in a thread of its own.

    Inside a chunk torch may not divide work again: its products would round by the number of
    threads, and `vmap` gains nothing by them.
    """
    with _ONE_AT_A_TIME, _one_result():
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return list(_pool(os.getpid()).map(work, starts))
        finally:
            torch.set_num_threads(before)


@contextmanager
def _one_result() -> Iterator[None]:
    """Away from the CPU: an algorithm that may give another result each time raises."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    if device().type != "cpu":
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


@cache
def _pool(process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a forked one has no threads yet
    """Threads that stay: memory that one gave back for a new one comes page by page again."""
    return ThreadPoolExecutor(_MOST_THREADS, initializer=partial(torch.set_num_threads, 1))


def _joined(vectors: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
    """Vectors with features behind them, `[..., dim + width]`."""
    return torch.cat([vectors, facts], dim=-1) if facts.shape[-1] else vectors


def _gradient(parameter: torch.Tensor) -> Floats:
    """What `backward` left there; zero where the loss does not depend on it."""
    found = parameter.grad
    return np.zeros(parameter.shape) if found is None else found.double().cpu().numpy()


def _on(where: torch.device, example: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value).to(where) for name, value in example.items()}


def _numpy(values: torch.Tensor, count: int) -> NDArray[Any]:
    return values[:count].cpu().numpy()
