"""The one linear algebra of implicit ALS: many small ridge problems over shared vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints

__all__ = ["Spectrum", "solve_rows", "transpose"]

_BLOCK_VALUES = 1 << 16  # values gathered at a time: half a MB, stays in cache


@dataclass(frozen=True)
class Spectrum:
    """Shared vectors in the basis in which their Gramian is diagonal.

    Attributes:
        eigenvalues: `[dim]` of Σ vvᵀ; nan where they are not to be had.
        basis: `[dim, dim]`, orthonormal columns.
        rotated: `[columns, dim]`, the vectors in that basis.
    """

    eigenvalues: Floats
    basis: Floats
    rotated: Floats

    @classmethod
    def of(cls, vectors: Floats) -> Self:
        """Decompose `vectors` `[columns, dim]`; never raises."""
        with np.errstate(all="ignore"):
            try:
                eigenvalues, basis = np.linalg.eigh(vectors.T @ vectors)
            except np.linalg.LinAlgError:
                eigenvalues = np.full(vectors.shape[1], np.nan)
                basis = np.eye(vectors.shape[1])
            return cls(np.maximum(eigenvalues, 0.0), basis, vectors @ basis)


def solve_rows(
    histories: Histories,
    vectors: Floats,
    ridge: Floats,
    unobserved_weight: float,
    prior: Floats | None = None,
    spectrum: Spectrum | None = None,
) -> Floats:
    """For each row r the minimiser of the implicit ALS loss, pulled towards a prior.

    x_r minimises Σ_e w_e (1 - x·v_e)² + α0 Σ_all (x·v)² + ridge_r ‖x - prior_r‖², e over
    the row's events (Hu, Koren, Volinsky 2008, in the form of Rendle et al. 2021). In the
    basis of the Gramian Σ_all vvᵀ all that rows share is diagonal (D_r), and a row with fewer
    events than dimensions is solved in the space of its events (Woodbury).

    Guarantee:
        No row makes it raise: one without a finite solution becomes zero, and no other row
        notices. A row is the same to the last bit whichever rows stand beside it: every product
        and every system has a shape that is the row's own, and is made apart from the others
        (held by a test, on the machine that runs it).

    Args:
        histories: `[rows]` with events on columns, and their weights.
        vectors: `[columns, dim]`.
        ridge: `[rows]`, positive.
        unobserved_weight: α0.
        prior: `[rows, dim]`, zero when None.
        spectrum: of `vectors`, where it is at hand.

    Returns:
        `[rows, dim]`.
    """
    shared = Spectrum.of(vectors) if spectrum is None else spectrum
    with np.errstate(all="ignore"):
        result = _solve_rotated(histories, shared, ridge, unobserved_weight, prior)
        result[~np.isfinite(result).all(axis=1)] = 0.0
    return result


def _solve_rotated(
    histories: Histories,
    shared: Spectrum,
    ridge: Floats,
    unobserved_weight: float,
    prior: Floats | None,
) -> Floats:
    basis, rotated = shared.basis, shared.rotated
    diagonal = unobserved_weight * shared.eigenvalues + ridge[:, None]
    result: Floats = np.zeros(diagonal.shape)
    if prior is not None:
        result = _each(basis.T, prior) * (ridge[:, None] / diagonal)  # without any event
    for rows, events, there in _same_size(histories, basis.shape[1]):
        root = np.where(there, np.sqrt(histories.weights[events]), 0.0)
        scaled = rotated.take(histories.items[events], axis=0)
        scaled *= root[:, :, None]
        rest = root if prior is None else root - (scaled @ result[rows][:, :, None])[:, :, 0]
        result[rows] += _solve(scaled, rest, diagonal[rows])
    return _each(basis, result)


def _each(matrix: Floats, rows: Floats) -> Floats:
    """`matrix` times each of `rows` `[rows, dim]`, one by one."""
    return np.asarray(np.matmul(matrix, rows[:, :, None])[:, :, 0], dtype=np.float64)


def transpose(histories: Histories) -> Histories:
    """Rows become columns: the users of each item, increasing."""
    order = np.argsort(histories.items, kind="stable")
    counts = np.bincount(histories.items, minlength=histories.n_items)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    users = histories.user_of_event[order]
    return Histories(indptr, users, histories.weights[order], histories.n_users)


def _same_size(histories: Histories, dim: int) -> Iterator[tuple[Ints, Ints, NDArray[np.bool_]]]:
    """Rows with about equally many events, in blocks.

    Yields:
        Rows `[block]`; places of their events `[block, size]`, where the size is a function of
        the row's own length; and which of those places hold an event.
    """
    lengths = histories.lengths
    if len(lengths) == 0:
        return
    sizes = _sizes(lengths)
    order = np.argsort(sizes, kind="stable")
    present, starts = np.unique(sizes[order], return_index=True)
    for size, start, stop in zip(present, starts, [*starts[1:], len(order)], strict=True):
        if size == 0:
            continue
        block, column = max(1, _BLOCK_VALUES // int(size * dim)), np.arange(size)
        for first in range(int(start), int(stop), block):
            rows = order[first : min(first + block, int(stop))]
            last = histories.indptr[rows + 1] - 1
            events = np.minimum(histories.indptr[rows][:, None] + column, last[:, None])
            yield rows, events, column < lengths[rows][:, None]


def _sizes(lengths: Ints) -> Ints:
    """Lengths rounded up to a multiple of a quarter of the power of two below, `[rows]`.

    Padding is a ninth of the work, and users of all lengths fall into a few dozen sizes.
    """
    step = np.left_shift(1, np.maximum(np.frexp(lengths)[1] - 3, 0).astype(np.int64))
    sizes: Ints = -(-lengths // step) * step
    return sizes


def _solve(scaled: Floats, rest: Floats, diagonal: Floats) -> Floats:
    """Solve (D + SᵀS) x = Sᵀ rest for each row; S `[rows, events, dim]`, D `[rows, dim]`."""
    events, dim = scaled.shape[1:]
    if events >= dim:
        beside = np.concatenate([scaled, rest[:, :, None]], axis=2)
        products = beside.transpose(0, 2, 1) @ beside  # the system, and the target behind it
        system = products[:, :dim, :dim]
        system[:, np.arange(dim), np.arange(dim)] += diagonal
        return _solve_systems(system, products[:, :dim, dim])
    whitened = scaled / diagonal[:, None, :]
    system = whitened @ scaled.transpose(0, 2, 1)
    system[:, np.arange(events), np.arange(events)] += 1.0
    weights = _solve_systems(system, rest)
    return np.asarray((weights[:, None, :] @ whitened)[:, 0], dtype=np.float64)


def _solve_systems(systems: Floats, targets: Floats) -> Floats:
    """Solve each of `[rows, n, n]` for `[rows, n]`; nan for the rows that are singular."""
    try:
        return np.asarray(np.linalg.solve(systems, targets[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        if len(systems) == 1:
            return np.full(targets.shape, np.nan)
        rows = (_solve_systems(systems[r : r + 1], targets[r : r + 1]) for r in range(len(systems)))
        return np.concatenate(list(rows))
