"""How vectors of a shopper's known items become one: their sum, or the ridge regression on them."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Pooling", "first_ridge", "pooled", "ridge", "weighted"]

Pooling: TypeAlias = Literal["mean", "ridge"]

_UNOBSERVED: Final = 0.1
_PENALTY: Final = 0.05
_LARGEST: Final = 20.0
"""No logarithm of a weight counts as farther from zero: what a file says may be anything."""
_FLOOR: Final = 1e-4
_TINY: Final = 1e-12


def first_ridge() -> NDArray[np.float32]:
    """Logarithms of α and λ to begin with, `[2]`."""
    return np.log(np.array([_UNOBSERVED, _PENALTY], np.float32))


def pooled(own: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ weight · vector / √(number of weights that are not zero), `[..., dim]`."""
    return weighted(weights, own) / weights.ne(0).sum(-1, keepdim=True).clamp(min=1).sqrt()


def ridge(
    logarithms: torch.Tensor, own: torch.Tensor, known: torch.Tensor, gram: torch.Tensor
) -> torch.Tensor:
    """(α G + Σ y yᵀ + (λ (n + 1) s + floor) I)⁻¹ Σ y over the n known items y, `[..., dim]`.

    What a user's vector is in implicit matrix factorisation (Hu, Koren and Volinsky 2008; the
    penalty grows with n as in Rendle et al. 2022, "Revisiting the performance of iALS"). With s
    the mean of the diagonal of α G, neither weight depends on the length of the vectors. The
    floor is 10⁻⁴ of the mean of the diagonal of α G + Σ y yᵀ, and 10⁻¹² where all is zero.

    Guarantee:
        No user makes it or its gradient raise, whatever the state says, so none is missed with
        another: where a system has no Cholesky factor, the answer is nan, of that user alone.
        The floor makes that rare, but long vectors that are nearly on one line still do it.

    Args:
        logarithms: of α and λ, `[2]`.
        own: y, `[..., own, dim]`.
        known: 1 for a known item, 0 for others, `[..., own]`.
        gram: G = Σ y yᵀ over the catalogue, `[..., dim, dim]`.
    """
    unobserved, penalty = logarithms.clamp(-_LARGEST, _LARGEST).exp()
    of_all = unobserved * gram
    whole = of_all + (own * known.unsqueeze(-1)).transpose(-1, -2) @ own
    held = penalty * (known.sum(-1) + 1) * _size(of_all) + _FLOOR * _size(whole) + _TINY
    one = torch.eye(own.shape[-1], dtype=own.dtype, device=own.device)
    # neither of the two raises, nor does what differentiates them; `solve` does
    factor, failed = torch.linalg.cholesky_ex(whole + held[..., None, None] * one)
    found = torch.cholesky_solve(weighted(known, own).unsqueeze(-1), factor).squeeze(-1)
    return found.masked_fill((failed != 0).unsqueeze(-1), torch.nan)


def _size(square: torch.Tensor) -> torch.Tensor:
    """The mean of the diagonal, `[...]`."""
    return torch.diagonal(square, dim1=-2, dim2=-1).mean(-1)


def weighted(weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Σ weight · row, `[..., dim]`.

    Of a single user, whose gradients are clipped, terms are added up in one order, wherever they
    lie in memory: a library's product of a vector and a matrix rounds by that, and where a user's
    lie is a matter of who else takes part.
    """
    if weights.dim() == 1:
        return (weights.unsqueeze(-1) * rows).sum(-2)
    return (weights.unsqueeze(-2) @ rows).squeeze(-2)
