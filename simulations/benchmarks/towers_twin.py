"""The two towers and the head as a module of torch's own layers, for Opacus.

The twin has the parameters of `common.models.networks.towers` under other shapes, and the same
loss, without steps of a shopper's own. As Opacus needs it for ghost clipping, no layer is applied
twice: own and shared items are looked up and scored in one call with a batch dimension.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from common.models.networks.base import BLOCKED, POPULARITY
from common.models.networks.towers import Towers

__all__ = ["TowersTwin"]


class TowersTwin(nn.Module):
    """The network and the table, with the losses of a batch.

    Args:
        network: with a head that is shared or none, and no personal steps.
        items: in the catalogue.
        features: of the items, `[items, width]`; None for none.
    """

    def __init__(self, network: Towers, items: int, features: torch.Tensor | None = None) -> None:
        super().__init__()
        dim, wide = network.dim, 2 * network.dim
        self.explicit, self.head = network.loss == "explicit", network.head > 0
        self.blocks, self.features, self.pooling = network.blocks, features, network.pooling
        layers: dict[str, nn.Module] = {}
        if features is not None:
            layers["features"] = nn.Linear(network.width, dim, bias=False)
        if self.explicit:
            layers["rated"] = nn.Linear(dim, dim, bias=False)
        if self.pooling == "ridge":
            layers["ridge"] = nn.Linear(1, 2, bias=False)
        for block in range(network.blocks):
            layers[f"{block}-wide"] = nn.Linear(dim, wide)
            layers[f"{block}-narrow"] = nn.Linear(wide, dim)
        if self.head:
            layers["head_wide"] = nn.Linear(dim, network.head)
            layers["head_narrow"] = nn.Linear(network.head, 1, bias=False)
        self.items, self.layers = nn.Embedding(items, dim), nn.ModuleDict(layers)
        self.norm, self.popularity = nn.LayerNorm(dim), nn.Linear(1, 1, bias=False)

    def forward(self, rows: torch.Tensor, example: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss of each user, `[batch]`, for `rows` `[batch, own + shared]` of the table."""
        wanted, many = example["wanted"], example["wanted"].shape[-1]
        vectors = self.items(rows)
        if self.features is not None:
            vectors = vectors + self.layers["features"](self.features[rows])
        scores = self._scores(self._person(vectors, example), vectors)
        weight = self.popularity(torch.ones(len(rows), 1))
        among_own = scores[:, :many] + weight * example["own_popularity"]
        if self.explicit:
            losses = 0.5 * (among_own - example["rating"]) ** 2
        else:
            bias = weight * example["shared_popularity"] + example["correction"].unsqueeze(-1)
            among_shared = (scores[:, many:] + bias).masked_fill(~example["rival"], BLOCKED)
            candidates = torch.cat([among_own.masked_fill(~wanted, BLOCKED), among_shared], dim=-1)
            losses = candidates.logsumexp(-1, keepdim=True) - among_own
        mean: torch.Tensor = (losses * wanted).sum(-1) / wanted.sum(-1).clamp(min=1)
        return mean

    def parameters_by_name(self) -> dict[str, torch.Tensor]:
        """Every dense parameter under our name; weights of linear layers are transposed."""
        found: dict[str, torch.Tensor] = {"norm": self.norm.weight, "norm_bias": self.norm.bias}
        for name, parameter in self.layers.named_parameters():
            layer, kind = name.replace("-", ".").rsplit(".", 1)
            stem = layer.replace("head_wide", "head") if kind == "bias" else layer
            found[stem if kind == "weight" else f"{stem}_bias"] = parameter
        return found | {POPULARITY: self.popularity.weight}

    def _pooled(self, vectors: torch.Tensor, example: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Known vectors as one, `[batch, dim]`."""
        known = example["known"]
        own, shared = vectors[:, : known.shape[-1]], vectors[:, known.shape[-1] :]
        mine = own * known.unsqueeze(-1)
        if self.pooling == "ridge":
            alpha, penalty = self.layers["ridge"](torch.ones(len(known), 1)).exp().unbind(-1)
            weight = alpha * example["correction"].exp()
            of_all = weight[:, None, None] * torch.einsum("bid,bie->bde", shared, shared)
            system = of_all + torch.einsum("bid,bie->bde", mine, own)
            held = penalty * (known.sum(-1) + 1) * _size(of_all) + 1e-4 * _size(system)
            system = system + held[:, None, None] * torch.eye(own.shape[-1])
            solved: torch.Tensor = torch.linalg.inv(system) @ mine.sum(1).unsqueeze(-1)
            return solved.squeeze(-1)
        scale = known.sum(-1, keepdim=True).clamp(min=1).sqrt()
        x = mine.sum(1) / scale
        if self.explicit:
            rated = mine * example["rating"].unsqueeze(-1)
            x = x + self.layers["rated"](rated.sum(1) / scale)
        return x

    def _person(self, vectors: torch.Tensor, example: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The user tower, `[batch, dim]`."""
        dim = vectors.shape[-1]
        x = functional.layer_norm(self._pooled(vectors, example), (dim,))
        for block in range(self.blocks):
            wide = self.layers[f"{block}-wide"](functional.layer_norm(x, (dim,)))
            x = x + self.layers[f"{block}-narrow"](functional.gelu(wide))
        person: torch.Tensor = self.norm(x)
        return person

    def _scores(self, x: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Of each item for its user, `[batch, items]`."""
        product = x[:, None] * items
        scores = product.sum(-1)
        if not self.head:
            return scores
        inner = functional.gelu(self.layers["head_wide"](product))
        beside: torch.Tensor = self.layers["head_narrow"](inner).squeeze(-1)
        return scores + beside


def _size(square: torch.Tensor) -> torch.Tensor:
    """The mean of the diagonal, `[batch]`."""
    return torch.einsum("bdd->b", square) / square.shape[-1]
