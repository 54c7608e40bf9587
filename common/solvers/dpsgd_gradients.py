"""Gradients of private gradient descent: each made of one user's events alone, and clipped."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Histories, Ints
from common.models.fold_in import FoldIn, fold_in_users
from common.models.ridge import Spectrum
from common.privacy.contributions import RankOne
from common.solvers.dpsgd_opacus import GradientClipper, SquareLoss

__all__ = ["UserGradients"]


class UserGradients:
    """Gradients of a step, each made of one user's events alone.

    Guarantee:
        A user's gradient is the same to the last bit whoever else takes part: every
        operation has the shape of that user. One that fails is nothing, for that user only.

    Args:
        fold_in: how a user's vector is made.
        table: what the gradient is by, `[items, dim - 1]`.
        embeddings: what the vector is made of, `[items, dim]`; column 0 is popularity.
        scale: by what each item's row of `table` is multiplied in them, `[items]`.
        negatives: items that are negatives where a user has no event on them.
        clip_norm: largest norm of a gradient.
        negative_weight: α, weight of a negative beside an event's weight of 1.
    """

    def __init__(
        self,
        fold_in: FoldIn,
        table: Floats,
        embeddings: Floats,
        scale: Floats,
        negatives: Ints,
        *,
        clip_norm: float,
        negative_weight: float,
    ) -> None:
        self._fold_in = fold_in
        self._table = table
        self._embeddings = embeddings
        self._spectrum = Spectrum.of(embeddings)
        self._scale = scale
        self._negatives = negatives
        self._ones = np.ones(len(embeddings))
        self._clip_norm = clip_norm
        self._negative_weight = negative_weight
        self._clipper = GradientClipper(table, clip_norm)

    def of(self, histories: Histories, user: Ints) -> RankOne | None:
        """The clipped gradient of one user, `user` `[1]`."""
        try:
            own = histories.take(user)
            vector = fold_in_users(
                own, self._embeddings, self._ones, self._fold_in, spectrum=self._spectrum
            )
            loss = self._loss(own, vector)
            return self._clipper.gradients(user, np.ascontiguousarray(vector[:, 1:]), loss)
        except Exception:  # noqa: BLE001 - whatever one user's events do, nobody else may notice
            self._clipper = GradientClipper(self._table, self._clip_norm)
            return None

    def _loss(self, own: Histories, vector: Floats) -> SquareLoss:
        weight = np.zeros((1, len(self._ones)))
        target = np.zeros_like(weight)
        weight[0, self._negatives] = self._negative_weight
        weight[0, own.items] = own.weights
        target[0, own.items] = 1.0
        offset = vector[0, 0] * self._embeddings[None, :, 0]
        return SquareLoss(weight, target, offset, self._scale)
