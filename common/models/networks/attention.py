"""Self-attention over a shopper's latest events: SASRec (Kang and McAuley 2018), pre-norm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from common.models.networks.base import BLOCKED, Dense, Dropout, uniform

__all__ = ["Attention"]

_WIDER = 2
_POSITION_STDDEV = 0.02


@dataclass(frozen=True)
class Attention:
    """Blocks of causal self-attention and a feed-forward layer, with residual connections.

    Layer normalisation stands before each part and at the end (Xiong et al. 2020): trains
    without a careful warm-up. What stands behind an event never changes its output, so
    padding stands behind.

    Attributes:
        dim: length of a vector.
        length: events at most.
        blocks: how many.
        heads: of each; divides `dim`.
    """

    dim: int
    length: int
    blocks: int
    heads: int

    def initial(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """First values: positions near zero, norms at one, biases at zero."""
        dim = self.dim
        position = rng.normal(0.0, _POSITION_STDDEV, (self.length, dim)).astype(np.float32)
        first = {"position": position}
        for block in range(self.blocks):
            first |= {
                f"{block}.norm1": np.ones(dim, np.float32),
                f"{block}.query_key_value": uniform(rng, dim, 3 * dim),
                f"{block}.output": uniform(rng, dim, dim),
                f"{block}.norm2": np.ones(dim, np.float32),
                f"{block}.wide": uniform(rng, dim, _WIDER * dim),
                f"{block}.wide_bias": np.zeros(_WIDER * dim, np.float32),
                f"{block}.narrow": uniform(rng, _WIDER * dim, dim),
                f"{block}.narrow_bias": np.zeros(dim, np.float32),
            }
        return first | {"norm": np.ones(dim, np.float32), "norm_bias": np.zeros(dim, np.float32)}

    def hidden(
        self, dense: Dense, events: torch.Tensor, dropout: Dropout | None = None
    ) -> torch.Tensor:
        """What is known after each event, `[..., events, dim]`, for vectors of that shape."""
        drop = dropout or (lambda values: values)
        x = drop(events + dense["position"][: events.shape[-2]])
        for block in range(self.blocks):
            part = {
                name.removeprefix(f"{block}."): value
                for name, value in dense.items()
                if name.startswith(f"{block}.")
            }
            x = x + drop(self._attend(part, functional.layer_norm(x, (self.dim,)) * part["norm1"]))
            x = x + drop(_feed(part, functional.layer_norm(x, (self.dim,)) * part["norm2"]))
        return functional.layer_norm(x, (self.dim,)) * dense["norm"] + dense["norm_bias"]

    def _attend(self, part: Dense, x: torch.Tensor) -> torch.Tensor:
        """Scaled dot-product attention over what came before, `[..., events, dim]`."""
        events, width = x.shape[-2], self.dim // self.heads
        mixed = x @ part["query_key_value"]
        mixed = mixed.reshape(*mixed.shape[:-1], 3, self.heads, width)
        query, key, value = (t.transpose(-2, -3) for t in mixed.unbind(-3))
        later = torch.ones(events, events, dtype=torch.bool, device=x.device).triu(1)
        weights = (query @ key.transpose(-1, -2) / math.sqrt(width)).masked_fill(later, BLOCKED)
        seen = weights.softmax(-1) @ value
        together: torch.Tensor = seen.transpose(-2, -3).flatten(-2) @ part["output"]
        return together


def _feed(part: Dense, x: torch.Tensor) -> torch.Tensor:
    """The feed-forward layer."""
    wide = functional.gelu(x @ part["wide"] + part["wide_bias"])
    return wide @ part["narrow"] + part["narrow_bias"]
