"""A weighted sum of a shopper's last events (Fossil, He and McAuley 2016), small enough for noise.

Vectors of items have two parts: what an event says as one of the last ones, and behind it after
which contexts an item comes. That is what `transitions` releases, and where this network begins;
what it adds is a few thousand numbers that all shoppers share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from common.models.networks.base import Dense, Dropout

__all__ = ["MIX", "Recency"]

MIX: Final = "mix"
"""M, `[len(decays) * context_dim, len(decays) * context_dim]`."""
_TINY = 1e-12


@dataclass(frozen=True)
class Recency:
    """Decayed sums of the last events, mixed by one matrix.

    After an event the context c is, for each decay γ, Σ_k γ^k v of the event k places earlier,
    brought to norm 1, side by side and divided by √decays (`common.models.recency`); what is
    known is c M. Ages have no parameters: trained ones (on validation events, without noise)
    gave nothing that M did not.

    Attributes:
        context_dim: length of the first part of a vector.
        decays: γ, each within (0, 1].
        looks_back: latest events that are read.
    """

    context_dim: int
    decays: tuple[float, ...]
    looks_back: int

    @property
    def dim(self) -> int:
        """Length of a vector: what an event says, and after which contexts an item comes."""
        return self.context_dim * (1 + len(self.decays))

    def initial(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:  # noqa: ARG002
        """M as the identity; a start that has scaled the vectors begins elsewhere."""
        return {MIX: np.eye(self.context_dim * len(self.decays), dtype=np.float32)}

    def hidden(
        self, dense: Dense, events: torch.Tensor, dropout: Dropout | None = None
    ) -> torch.Tensor:
        """What is known after each event, `[..., events, dim]`, for vectors of that shape.

        Zero in the first part, so that its product with an item's vector is one with the second.
        """
        drop = dropout or (lambda values: values)
        said = drop(events[..., : self.context_dim])
        count = events.shape[-2]
        place = torch.arange(count, device=events.device)
        back = place[:, None] - place[None, :]
        read = (back >= 0) & (back < self.looks_back)
        powers = back.clamp(min=0).to(said.dtype)
        parts = [_unit((decay**powers * read) @ said) for decay in self.decays]
        known = torch.cat(parts, dim=-1) / len(self.decays) ** 0.5 @ dense[MIX]
        return functional.pad(known, (self.context_dim, 0))


def _unit(values: torch.Tensor) -> torch.Tensor:
    """Rows of norm 1; of a row of zeros zeros, whose gradient is finite."""
    squares = values.square().sum(-1, keepdim=True)
    unit: torch.Tensor = values * torch.rsqrt(squares + _TINY)
    return unit
