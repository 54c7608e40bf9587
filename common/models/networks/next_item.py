"""The loss of a sequential model: every event predicts the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from common.models.networks.base import POPULARITY, Dense, Dropout, Example, candidate_losses

__all__ = ["NextItem", "SequenceNetwork"]


class SequenceNetwork(Protocol):
    """What reads events in their order."""

    def initial(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """First values of its parameters."""
        ...

    def hidden(
        self, dense: Dense, events: torch.Tensor, dropout: Dropout | None = None
    ) -> torch.Tensor:
        """What is known after each event, `[..., events, dim]`; later ones never change it."""
        ...


@dataclass(frozen=True)
class NextItem:
    """Next-item prediction with cross-entropy.

    Attributes:
        network: what reads the events.
        length: targets at most; the loss is the sum over a user's targets over this.
        popularity_weight: of the logarithm of an item's popularity in its score; None for one
            that is trained.
    """

    network: SequenceNetwork
    length: int
    popularity_weight: float | None = None

    def initial(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """First values of the dense parameters."""
        first = self.network.initial(rng)
        if self.popularity_weight is not None:
            return first
        return first | {POPULARITY: np.zeros(1, np.float32)}

    def popularity(self, dense: Dense) -> torch.Tensor:
        """By how much the logarithm of an item's popularity counts in its score, `[1]`."""
        if self.popularity_weight is None:
            return dense[POPULARITY]
        return next(iter(dense.values())).new_full((1,), self.popularity_weight)

    def losses(
        self,
        dense: Dense,
        own: torch.Tensor,
        shared: torch.Tensor,
        example: Example,
        dropout: Dropout | None = None,
    ) -> torch.Tensor:
        """The loss of each user, `[...]`; `own` is in time order, `[..., length + 1, dim]`."""
        hidden = self.network.hidden(dense, own[..., :-1, :], dropout)
        losses = candidate_losses(hidden, own, shared, example, self.popularity(dense))
        of_next = torch.diagonal(losses, offset=1, dim1=-2, dim2=-1)
        wanted = example["present"][..., 1:]
        return (of_next * wanted).sum(-1) / self.length
