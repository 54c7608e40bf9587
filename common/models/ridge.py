"""The one linear algebra of implicit ALS: many small ridge problems over shared vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from common.arrays import Floats, Histories, Ints

__all__ = ["Spectrum", "solve_rows", "transpose"]

_BLOCK_VALUES = 1 << 18  # values gathered at a time: 2 MB, stays in cache


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
        notices. Last bits of a row may depend on the rows beside it, because BLAS orders a
        sum by the shape of a batch: what goes to a mechanism is solved one user at a time.

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
        result = (prior @ basis) * (ridge[:, None] / diagonal)  # without any event
    for rows, events in _same_length(histories, basis.shape[1]):
        root = np.sqrt(histories.weights[events])
        scaled = rotated[histories.items[events]] * root[:, :, None]
        rest = root if prior is None else root - np.einsum("red,rd->re", scaled, result[rows])
        result[rows] += _solve(scaled, rest, diagonal[rows])
    return np.asarray(result @ basis.T, dtype=np.float64)


def transpose(histories: Histories) -> Histories:
    """Rows become columns: the users of each item, increasing."""
    order = np.argsort(histories.items, kind="stable")
    counts = np.bincount(histories.items, minlength=histories.n_items)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    users = histories.user_of_event[order]
    return Histories(indptr, users, histories.weights[order], histories.n_users)


def _same_length(histories: Histories, dim: int) -> Iterator[tuple[Ints, Ints]]:
    """Rows with equally many events, and their events `[block, length]`, in blocks."""
    lengths = histories.lengths
    if histories.n_users == 0:
        return
    order = np.argsort(lengths, kind="stable")
    present, starts = np.unique(lengths[order], return_index=True)
    for length, start, stop in zip(present, starts, [*starts[1:], len(order)], strict=True):
        if length == 0:
            continue
        block = max(1, _BLOCK_VALUES // int(length * dim))
        for first in range(int(start), int(stop), block):
            rows = order[first : min(first + block, int(stop))]
            yield rows, histories.indptr[rows][:, None] + np.arange(length)


def _solve(scaled: Floats, rest: Floats, diagonal: Floats) -> Floats:
    """Solve (D + SᵀS) x = Sᵀ rest for each row; S `[rows, events, dim]`, D `[rows, dim]`."""
    events, dim = scaled.shape[1:]
    if events >= dim:
        system = scaled.transpose(0, 2, 1) @ scaled
        system[:, np.arange(dim), np.arange(dim)] += diagonal
        target = np.einsum("red,re->rd", scaled, rest)
        return _solve_systems(system, target)
    whitened = scaled / diagonal[:, None, :]
    system = whitened @ scaled.transpose(0, 2, 1)
    system[:, np.arange(events), np.arange(events)] += 1.0
    weights = _solve_systems(system, rest)
    return np.asarray(np.einsum("red,re->rd", whitened, weights), dtype=np.float64)


def _solve_systems(systems: Floats, targets: Floats) -> Floats:
    """Solve each of `[rows, n, n]` for `[rows, n]`; nan for the rows that are singular."""
    try:
        return np.asarray(np.linalg.solve(systems, targets[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        if len(systems) == 1:
            return np.full(targets.shape, np.nan)
        rows = (_solve_systems(systems[r : r + 1], targets[r : r + 1]) for r in range(len(systems)))
        return np.concatenate(list(rows))
