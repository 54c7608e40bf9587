"""What a gradient model's network is: a function of vectors that were gathered beforehand.

A network never sees the table of items. It is given the vectors of one shopper's own items and
of some others, so that its gradient by the table is those few rows, and one user's gradient
costs what the user's events cost, however large the catalogue is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = [
    "BLOCKED",
    "POPULARITY",
    "Dense",
    "Dropout",
    "Example",
    "Network",
    "candidate_losses",
    "cross_entropies",
    "uniform",
]

Dense: TypeAlias = Mapping[str, torch.Tensor]
"""Parameters that are no vectors of items, by name."""
Example: TypeAlias = Mapping[str, torch.Tensor]
"""What a loss reads of one user beside the vectors, by name; with a leading batch, of several."""

POPULARITY: Final = "popularity_weight"
"""The parameter `[1]` by which the logarithm of an item's popularity counts in its score."""

BLOCKED: Final = torch.finfo(torch.float32).min / 4
"""In the place of a logit: no candidate. Finite, so that no gradient is a nan."""


@dataclass(frozen=True)
class Dropout:
    """Entries set to zero at random, the others scaled up; where nothing is promised only.

    Attributes:
        rate: share of entries set to zero.
        generator: where the choice comes from.
    """

    rate: float
    generator: torch.Generator

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """`values` with entries dropped."""
        drawn = torch.empty(values.shape, device=values.device).uniform_(generator=self.generator)
        return values * (drawn >= self.rate) / (1.0 - self.rate)


class Network(Protocol):
    """A network with one loss for each user; every tensor may have leading batch dimensions."""

    def initial(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """First values of the dense parameters, public."""
        ...

    def losses(
        self,
        dense: Dense,
        own: torch.Tensor,
        shared: torch.Tensor,
        example: Example,
        dropout: Dropout | None = None,
    ) -> torch.Tensor:
        """The loss of each user, `[...]`.

        Args:
            dense: parameters.
            own: vectors of the user's own items, `[..., own, dim]`; padding behind.
            shared: vectors of the items that everybody is given beside, `[shared, dim]`.
            example: what else is known of the user.
            dropout: None for none.
        """
        ...


def candidate_losses(
    hidden: torch.Tensor,
    own: torch.Tensor,
    shared: torch.Tensor,
    example: Example,
    popularity_weight: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy of each own item among own and shared items, `[..., targets, own]`.

    Candidates are the user's own items and, where they are not among them, the shared ones; a
    shared item stands for `exp(example["correction"])` items of its kind, so that the sum over
    a uniform draw is one over the catalogue in expectation (Klenitskiy and Vasilev 2023, who
    show that full cross-entropy is what SASRec lacked; with all items shared this is it).

    Args:
        hidden: what own items are scored by, `[..., targets, dim]`.
        own: `[..., own, dim]`.
        shared: `[shared, dim]`, or with the leading dimensions of `own`.
        example: `present` `[..., own]`, whether there is an item at all; `rival`
            `[..., shared]`, whether a shared item is none of the user's own; `correction`
            `[...]`; `own_popularity` `[..., own]` and `shared_popularity` `[..., shared]`,
            logarithms.
        popularity_weight: `[1]`, of the logarithms in a score.
    """
    own_bias = popularity_weight * example["own_popularity"]
    shared_bias = popularity_weight * example["shared_popularity"]
    shared_bias = shared_bias + example["correction"].unsqueeze(-1)
    # a bias blocks one vector for each user; a mask on the logits, one for each target
    own_bias = own_bias.masked_fill(~example["present"], BLOCKED)
    shared_bias = shared_bias.masked_fill(~example["rival"], BLOCKED)
    among_own = hidden @ own.transpose(-1, -2) + own_bias.unsqueeze(-2)
    among_shared = hidden @ shared.transpose(-1, -2) + shared_bias.unsqueeze(-2)
    return _cross_entropies(among_own, among_shared, among_own)


def cross_entropies(
    among_own: torch.Tensor,
    among_shared: torch.Tensor,
    candidates: torch.Tensor,
    rival: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy of each own item, were it the wanted one, `[..., own]`.

    Args:
        among_own: logits of own items, `[..., own]`.
        among_shared: of shared items, `[..., shared]`, their corrections included.
        candidates: which own items count, `[..., own]`; what is returned of others means nothing.
        rival: which shared ones do, `[..., shared]`.
    """
    own_ones = among_own.masked_fill(~candidates, BLOCKED)
    shared_ones = among_shared.masked_fill(~rival, BLOCKED)
    return _cross_entropies(own_ones, shared_ones, among_own)


def _cross_entropies(
    own_ones: torch.Tensor, shared_ones: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Of `wanted` `[..., own]` among logits of which those that do not count are blocked."""
    total = torch.logaddexp(own_ones.logsumexp(-1), shared_ones.logsumexp(-1))
    return total.unsqueeze(-1) - wanted


def uniform(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """A first weight matrix `[in, out]`: uniform in ±√(6 / (in + out)) (Glorot, Bengio 2010)."""
    bound = np.sqrt(6.0 / sum(shape[-2:]))
    return rng.uniform(-bound, bound, shape).astype(np.float32)
