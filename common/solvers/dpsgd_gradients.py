"""Gradients of matrix factorisation: each made of one user's events alone, and clipped.

At fixed u the gradient of a user's loss by the table of items is the outer product of residuals
r, one for each of their items and for each negative, and u. Negatives are drawn without
replacement, and where one is the user's own the event counts: rows are distinct, so that the
norm is ‖r‖ ‖u‖, and nothing needs to be written out to know it.
"""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Histories, Ints
from common.models.fold_in import FoldIn, fold_in_users
from common.models.ridge import Spectrum
from common.privacy.grid import per_row, per_user
from common.privacy.rank_one import RankOne, places_in

__all__ = ["UserGradients"]

_BLOCK_VALUES = 1 << 14


class UserGradients:
    """Gradients of a step, each made of one user's events alone.

    The loss of a user is ½ Σ_own w (s - 1)² + ½ α Σ_negatives s² for scores s = embedding · u.

    Guarantee:
        A user's gradient is the same to the last bit whoever else takes part: every operation
        is made value by value, or has a shape of that user's own (held by a test, on the
        machine that runs it). Its Frobenius norm is at most `clip_norm` up to rounding, and the
        mechanism clips again, exactly.

    Args:
        fold_in: how a user's vector is made.
        embeddings: what the vector is made of, `[items, dim]`; column 0 is popularity, which
            is not trained.
        scale: by what each item's row of the table is multiplied in the others, `[items]`.
        negatives: items that are negatives where a user has no event on them, increasing.
        clip_norm: largest norm of a gradient.
        negative_weight: α, weight of a negative beside an event's weight of 1.
    """

    def __init__(
        self,
        fold_in: FoldIn,
        embeddings: Floats,
        scale: Floats,
        negatives: Ints,
        *,
        clip_norm: float,
        negative_weight: float,
    ) -> None:
        self._fold_in = fold_in
        self.embeddings = embeddings
        self._spectrum = Spectrum.of(embeddings)
        self.scale = scale
        self.negatives = negatives
        self._of_negatives = np.ascontiguousarray(embeddings[negatives])
        self._ones = np.ones(len(embeddings))
        self._clip_norm = clip_norm
        self.negative_weight = negative_weight

    def of(self, histories: Histories, users: Ints) -> RankOne:
        """Clipped gradients of `users` (positions, increasing) by the table.

        One that is not finite stays so, and the mechanism makes it zero.
        """
        own = histories.take(users)
        owners = own.user_of_event
        vectors = self.vectors(own)
        with np.errstate(all="ignore"):
            left = own.weights * (self._scores(own.items, owners, vectors) - 1.0)
            left *= self.scale[own.items]
            shared = self._of_shared(own, vectors)
            right = np.ascontiguousarray(vectors[:, 1:])
            factors = self._factors(left, own.indptr, shared, right)
            left *= factors[owners]
            shared *= factors[:, None]
        return RankOne(users, own.indptr, own.items, left, right, self.negatives, shared)

    def vectors(self, own: Histories) -> Floats:
        """Each user's own vector at the embeddings as they are, `[users, dim]`."""
        return fold_in_users(
            own, self.embeddings, self._ones, self._fold_in, spectrum=self._spectrum
        )

    def _scores(self, items: Ints, owners: Ints, vectors: Floats) -> Floats:
        """Of each event's item for its user, `[events]`."""
        found = np.empty(len(items))
        at_once = max(1, _BLOCK_VALUES // vectors.shape[1])
        for start in range(0, len(items), at_once):
            some = slice(start, start + at_once)
            of_items = self.embeddings.take(items[some], axis=0)
            np.einsum("ed,ed->e", of_items, vectors.take(owners[some], axis=0), out=found[some])
        return found

    def _of_shared(self, own: Histories, vectors: Floats) -> Floats:
        """What stands on negatives, `[users, negatives]`; zero on those that are a user's own."""
        scores = np.matmul(self._of_negatives, vectors[:, :, None])[:, :, 0]  # one by one
        scores *= self.negative_weight * self.scale[self.negatives]
        place = places_in(self.negatives, own.items)
        events = np.flatnonzero(place >= 0)
        scores[own.user_of_event[events], place[events]] = 0.0
        return np.asarray(scores, dtype=np.float64)

    def _factors(self, left: Floats, indptr: Ints, shared: Floats, right: Floats) -> Floats:
        """What brings each user's norm, ‖r‖ ‖u‖, to the clip norm at most, `[users]`."""
        squares = per_user(np.square(left), indptr, np.add) + per_row(np.square(shared), np.add)
        norms = np.sqrt(squares) * np.sqrt(per_row(np.square(right), np.add))
        return np.where(norms > self._clip_norm, self._clip_norm / norms, 1.0)
