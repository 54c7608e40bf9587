"""A gated recurrent unit over a shopper's latest events (GRU4Rec, Hidasi et al. 2016): small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from common.models.networks.base import Dense, Dropout, uniform

__all__ = ["Recurrent"]


@dataclass(frozen=True)
class Recurrent:
    """One GRU layer (Cho et al. 2014) and a linear one.

    Written out: torch's own has no gradients of single users.

    Attributes:
        dim: length of a vector, and of the unit's state.
    """

    dim: int

    def initial(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """First values."""
        dim = self.dim
        return {
            "input": uniform(rng, dim, 3 * dim),
            "input_bias": np.zeros(3 * dim, np.float32),
            "state": uniform(rng, dim, 3 * dim),
            "state_bias": np.zeros(3 * dim, np.float32),
            "output": uniform(rng, dim, dim),
            "norm": np.ones(dim, np.float32),
            "norm_bias": np.zeros(dim, np.float32),
        }

    def hidden(
        self, dense: Dense, events: torch.Tensor, dropout: Dropout | None = None
    ) -> torch.Tensor:
        """What is known after each event, `[..., events, dim]`, for vectors of that shape."""
        drop = dropout or (lambda values: values)
        given = drop(events) @ dense["input"] + dense["input_bias"]
        state = torch.zeros_like(events[..., 0, :])
        states = []
        for step in given.unbind(-2):
            state = _unit(step, state @ dense["state"] + dense["state_bias"], state)
            states.append(state)
        out = drop(torch.stack(states, dim=-2)) @ dense["output"]
        return functional.layer_norm(out, (self.dim,)) * dense["norm"] + dense["norm_bias"]


def _unit(given: torch.Tensor, kept: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """The next state, `[..., dim]`, from `[..., 3 dim]` of the event and of the state before."""
    reset_in, update_in, new_in = given.chunk(3, dim=-1)
    reset_kept, update_kept, new_kept = kept.chunk(3, dim=-1)
    reset = torch.sigmoid(reset_in + reset_kept)
    update = torch.sigmoid(update_in + update_kept)
    new = torch.tanh(new_in + reset * new_kept)
    return new + update * (state - new)
