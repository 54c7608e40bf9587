"""Two towers and a head: a shopper's vector from their own items, an item's from its features.

The item tower is y = v + f F, v the item's own vector and f its public features. The user tower
pools the y of items that the shopper is known to have (`pooling`), and goes through residual
layers to x.
The score is x·y + head(x ⊙ y) + w log popularity, the head a small network (He et al. 2017,
"Neural collaborative filtering", with the product kept beside it: Rendle et al. 2020 show what
is lost without).

A shopper's vector may be refined by a few steps of gradient descent on their own known events,
with everything else held: partial local reconstruction (Singhal et al. 2021). In training the
gradient goes through these steps, so that what is shared is what is best to begin with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from common.models.networks.base import (
    BLOCKED,
    POPULARITY,
    Dense,
    Dropout,
    Example,
    cross_entropies,
    uniform,
)
from common.models.networks.pooling import Pooling, first_ridge, pooled, ridge, weighted

__all__ = ["Loss", "Towers"]

Loss: TypeAlias = Literal["implicit", "explicit"]
_WIDER: Final = 2
_HEAD: Final = ("head_wide", "head_bias")
_RIDGE: Final = "ridge"


@dataclass(frozen=True)
class Towers:
    """The network, with the loss that it is trained by.

    Attributes:
        dim: length of the vectors.
        width: features of an item, behind its own vector; 0 for none.
        blocks: residual layers of the user tower.
        head: width of the head; 0 for none.
        share_head: the head is one for everybody. Otherwise its first layer is a public draw,
            and its last one, which begins at zero, is personal as the shopper's vector is.
        personal_steps: steps of descent on a shopper's own known events.
        personal_rate: length of each, in units of the gradient.
        loss: `implicit`, cross-entropy of wanted items among them and the shared ones;
            `explicit`, half the squared error of standardised ratings.
        pooling: `mean`, the sum of known vectors, to scale; `ridge`, the regression on them,
            of the loss `implicit`.
    """

    dim: int
    width: int
    blocks: int
    head: int
    share_head: bool
    personal_steps: int
    personal_rate: float
    loss: Loss
    pooling: Pooling = "mean"

    @property
    def personal_dim(self) -> int:
        """Length of what is personal: a vector, and the last layer of a head that is not shared."""
        return self.dim if self.share_head else self.dim + self.head

    def initial(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """First values: the towers begin as the pooled vectors themselves, without a head."""
        dim, wide = self.dim, _WIDER * self.dim
        first: dict[str, NDArray[np.float32]] = {}
        if self.width:
            first["features"] = np.zeros((self.width, dim), np.float32)
        if self.loss == "explicit":
            first["rated"] = uniform(rng, dim, dim)
        if self.pooling == "ridge":
            first[_RIDGE] = first_ridge()
        for block in range(self.blocks):
            first |= {
                f"{block}.wide": uniform(rng, dim, wide),
                f"{block}.wide_bias": np.zeros(wide, np.float32),
                f"{block}.narrow": np.zeros((wide, dim), np.float32),
                f"{block}.narrow_bias": np.zeros(dim, np.float32),
            }
        if self.share_head and self.head:
            first |= _first_layer(rng, dim, self.head)
            first["head_narrow"] = np.zeros(self.head, np.float32)
        first |= {"norm": np.ones(dim, np.float32), "norm_bias": np.zeros(dim, np.float32)}
        return first | {POPULARITY: np.zeros(1, np.float32)}

    def items(self, dense: Dense, given: torch.Tensor) -> torch.Tensor:
        """The item tower, `[..., items, dim]`, for vectors with features behind them."""
        if not self.width:
            return given
        return given[..., : self.dim] + given[..., self.dim :] @ dense["features"]

    def gram(self, items: torch.Tensor) -> torch.Tensor:
        """Σ y yᵀ over vectors of items, `[dim, dim]`."""
        return items.transpose(-1, -2) @ items

    def personal(
        self,
        dense: Dense,
        own: torch.Tensor,
        shared: torch.Tensor,
        example: Example,
        dropout: Dropout | None = None,
        gram: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What is personal of each user, `[..., personal_dim]`, by their known items alone.

        Args:
            dense: parameters.
            own: the item tower's vectors of the user's items, `[..., own, dim]`.
            shared: of the items that everybody is given beside.
            example: see `losses`.
            dropout: None for none.
            gram: `gram` of the whole catalogue, for `ridge`; None to estimate it by `shared`.
        """
        known = example["known"].to(own.dtype)
        if self.pooling == "ridge":
            if gram is None:
                gram = example["correction"].exp()[..., None, None] * self.gram(shared)
            person = ridge(dense[_RIDGE], own, known, gram)
        else:
            person = self._sum(dense, own, known, example)
        person = self._tower(dense, person, dropout)
        if not self.share_head:
            zeros = torch.zeros_like(person[..., :1]).expand(*person.shape[:-1], self.head)
            person = torch.cat([person, zeros], dim=-1)
        for _ in range(self.personal_steps):
            gradient = self._gradient(dense, person, (own, shared), example)
            person = person - self.personal_rate * gradient
        return person

    def scores(self, dense: Dense, person: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """x·y + head(x ⊙ y), `[..., items]`, for `[..., personal_dim]` and `[..., items, dim]`."""
        x = person[..., : self.dim]
        scores = (items @ x.unsqueeze(-1)).squeeze(-1)
        if not self.head:
            return scores
        wide, bias, narrow = self._head(dense, person)
        inner = functional.gelu(items @ (x.unsqueeze(-1) * wide) + bias)  # (x ⊙ y) wide
        return scores + (inner @ narrow.unsqueeze(-1)).squeeze(-1)

    def losses(
        self,
        dense: Dense,
        own: torch.Tensor,
        shared: torch.Tensor,
        example: Example,
        dropout: Dropout | None = None,
    ) -> torch.Tensor:
        """The mean loss of each user's wanted items, `[...]`; 0 for a user without any.

        Args:
            dense: parameters.
            own: vectors of the user's items, features behind, `[..., own, dim + width]`.
            shared: of the items that everybody is given beside, `[shared, dim + width]`.
            example: `known` and `wanted` `[..., own]`, which items are given and which are
                looked for; what `rivals` makes; and where ratings are the target, `rating`
                `[..., own]`, standardised.
            dropout: None for none.
        """
        items, others = self.items(dense, own), self.items(dense, shared)
        person = self.personal(dense, items, others, example, dropout)
        return self._loss(dense, person, (items, others), example, "wanted")

    def _sum(
        self, dense: Dense, own: torch.Tensor, known: torch.Tensor, example: Example
    ) -> torch.Tensor:
        """Known vectors added up, and weighted by how they were rated, `[..., dim]`."""
        total = pooled(own, known)
        if self.loss == "explicit":
            total = total + pooled(own, known * example["rating"]) @ dense["rated"]
        return total

    def _tower(self, dense: Dense, given: torch.Tensor, dropout: Dropout | None) -> torch.Tensor:
        """The layers of the user tower, `[..., dim]`, whatever the length of what is given."""
        drop = dropout or (lambda values: values)
        x = drop(functional.layer_norm(given, (self.dim,)))
        for block in range(self.blocks):
            part = {
                name: dense[f"{block}.{name}"]
                for name in ("wide", "wide_bias", "narrow", "narrow_bias")
            }
            inner = functional.layer_norm(x, (self.dim,)) @ part["wide"] + part["wide_bias"]
            x = x + drop(functional.gelu(inner)) @ part["narrow"] + part["narrow_bias"]
        return functional.layer_norm(x, (self.dim,)) * dense["norm"] + dense["norm_bias"]

    def _loss(
        self,
        dense: Dense,
        person: torch.Tensor,
        vectors: tuple[torch.Tensor, torch.Tensor],
        example: Example,
        part: str,
    ) -> torch.Tensor:
        """The mean over the own items that `example[part]` marks, `[...]`."""
        marked = example[part]
        among_own, among_shared = self._logits(dense, person, vectors, example)
        if self.loss == "explicit":
            losses = 0.5 * (among_own - example["rating"]).square()
        else:
            losses = cross_entropies(among_own, among_shared, marked, example["rival"])
        return (losses * marked).sum(-1) / marked.sum(-1).clamp(min=1)

    def _gradient(
        self,
        dense: Dense,
        person: torch.Tensor,
        vectors: tuple[torch.Tensor, torch.Tensor],
        example: Example,
    ) -> torch.Tensor:
        """The gradient of the loss of the known items by what is personal, `[..., personal_dim]`.

        Written out, so that one can be taken through it: by every score, then by `person`.
        """
        marked = example["known"]
        count = marked.sum(-1, keepdim=True)
        mean = marked / count.clamp(min=1)
        among_own, among_shared = self._logits(dense, person, vectors, example)
        if self.loss == "explicit":
            by_score = [(among_own - example["rating"]) * mean]
        else:
            masked = (
                among_own.masked_fill(~marked, BLOCKED),
                among_shared.masked_fill(~example["rival"], BLOCKED),
            )
            shares = torch.cat(masked, dim=-1).softmax(-1) * (count > 0)
            many = among_own.shape[-1]
            by_score = [shares[..., :many] - mean, shares[..., many:]]
        parts = zip(vectors, by_score, strict=False)
        return torch.stack([self._pulled(dense, person, *part) for part in parts]).sum(0)

    def _logits(
        self,
        dense: Dense,
        person: torch.Tensor,
        vectors: tuple[torch.Tensor, torch.Tensor],
        example: Example,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of own items and of shared ones, popularity and correction included."""
        (own, shared), weight = vectors, dense[POPULARITY]
        among_own = self.scores(dense, person, own) + weight * example["own_popularity"]
        bias = weight * example["shared_popularity"] + example["correction"].unsqueeze(-1)
        return among_own, self.scores(dense, person, shared) + bias

    def _pulled(
        self, dense: Dense, person: torch.Tensor, items: torch.Tensor, by_score: torch.Tensor
    ) -> torch.Tensor:
        """Σ by_score · gradient of the score by `person`, `[..., personal_dim]`."""
        by_vector = weighted(by_score, items)
        if not self.head:
            return by_vector
        wide, bias, narrow = self._head(dense, person)
        inner = items @ (person[..., : self.dim].unsqueeze(-1) * wide) + bias
        slopes = by_score.unsqueeze(-1) * _gelu_slope(inner)
        through = items.transpose(-1, -2) @ slopes * wide  # [..., dim, head]
        by_vector = by_vector + (through @ narrow.unsqueeze(-1)).squeeze(-1)
        if self.share_head:
            return by_vector
        by_narrow = weighted(by_score, functional.gelu(inner))
        return torch.cat([by_vector, by_narrow], dim=-1)

    def _head(self, dense: Dense, person: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """First layer, its bias, and the last layer, `[..., head]` where it is personal."""
        if self.share_head:
            return dense["head_wide"], dense["head_bias"], dense["head_narrow"]
        wide, bias = (self._public_layer[name].to(person) for name in _HEAD)
        return wide, bias, person[..., self.dim :]

    @cached_property
    def _public_layer(self) -> dict[str, torch.Tensor]:
        """The first layer of a head that is not shared: the same everywhere, never trained."""
        drawn = _first_layer(np.random.default_rng(0), self.dim, self.head)
        return {name: torch.from_numpy(values) for name, values in drawn.items()}


def _first_layer(rng: np.random.Generator, dim: int, head: int) -> dict[str, NDArray[np.float32]]:
    values = uniform(rng, dim, head), np.zeros(head, np.float32)
    return dict(zip(_HEAD, values, strict=True))


def _gelu_slope(values: torch.Tensor) -> torch.Tensor:
    """The derivative of `gelu`: Φ(v) + v φ(v)."""
    density = torch.exp(-0.5 * values.square()) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(values / math.sqrt(2))) + values * density
