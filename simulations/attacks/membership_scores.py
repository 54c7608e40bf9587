"""How well a published model knows a user, and the likelihood-ratio attack on top of that.

LiRA (Carlini, Chien, Nasr, Song, Terzis, Tramèr 2022, section V), online: models are trained
with and without each user, and a score of the target is judged by two Gaussians, fitted to the
same user's scores in the models that held them and in those that did not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories
from common.models.mf import MatrixFactorisation

__all__ = ["SIMPLE", "STATISTICS", "likelihood_ratios", "user_statistics"]

STATISTICS: Final = ("popularity", "explained", "fit")
"""What is read off a model for each user; a member's values are larger."""
SIMPLE: Final = "fit"
"""The statistic of the attack with one threshold for everybody."""
_RIDGE: Final = 1e-6
_TINY: Final = 1e-12


def user_statistics(model: MatrixFactorisation, histories: Histories) -> Floats:
    """What a published model says about each user whose history is known.

    Returns:
        `[users, 3]`, in the order of `STATISTICS`: the model's share of popularity on the
        user's items, over √events (against noised popularity alone the best linear test);
        the squared norm of the user's row, scaled to 1, inside the space of the item
        vectors; the mean score of the user's own items after folding in.
    """
    from scipy.sparse import csr_array  # heavy; only the lab needs it

    lengths = np.maximum(histories.lengths, 1)
    owner = histories.user_of_event
    share = model.popularity.astype(np.float64) / float(model.popularity.sum(dtype=np.float64))
    popularity = _per_user(share[histories.items], histories) / np.sqrt(lengths)
    vectors = model.item_embeddings.astype(np.float64)
    shape = (histories.n_users, histories.n_items)
    rows = csr_array(
        (1.0 / np.sqrt(lengths[owner]), histories.items, histories.indptr), shape=shape
    )
    explained = np.square(np.asarray(rows @ _basis(vectors))).sum(axis=1)
    own = np.einsum("ed,ed->e", model.fold_in(histories)[owner], vectors[histories.items])
    fit = _per_user(own, histories) / lengths
    return np.column_stack([popularity, explained, fit])


def likelihood_ratios(target: Floats, shadows: Floats, members: NDArray[np.bool_]) -> Floats:
    """Log likelihood ratio "member" over "not a member" of each user, under Gaussian fits.

    Each user and statistic has a mean in, a mean out and one spread; the correlations of the
    statistics are those over all users, as a user alone has too few models. The distance
    between both means, in spreads, is drawn towards its mean over users as far as its
    scatter is that of the estimate (James, Stein 1961): with a small leak and a few dozen
    models it would be nothing but scatter otherwise.

    Args:
        target: `[users, k]`, statistics of the model that is attacked.
        shadows: `[models, users, k]`, of the shadow models; at least four.
        members: `[models, users]`, who was in which of them.

    Returns:
        `[users]`; 0 for a user whom the shadows cannot tell about: never in, or never out.
    """
    inside = members[..., None]
    count_in, count_out = inside.sum(axis=0), (~inside).sum(axis=0)
    mean_in = _mean(shadows, inside, count_in)
    mean_out = _mean(shadows, ~inside, count_out)
    residuals = shadows - np.where(inside, mean_in, mean_out)
    spread = np.sqrt((residuals**2).sum(axis=0) / max(len(shadows) - 2, 1)) + _TINY
    known = (count_in > 0) & (count_out > 0)
    distance = _shrunk((mean_in - mean_out) / spread, count_in, count_out, known)
    middle = (shadows - np.where(inside, 0.5, -0.5) * distance * spread).mean(axis=0)
    scaled = (residuals / spread).reshape(-1, shadows.shape[2])
    correlation = scaled.T @ scaled / len(scaled) + _RIDGE * np.eye(shadows.shape[2])
    direction = np.linalg.solve(correlation, distance.T).T
    ratios = np.einsum("uk,uk->u", (target - middle) / spread, direction)
    return np.where(known[:, 0], ratios, 0.0)


def _shrunk(
    distance: Floats,
    count_in: NDArray[np.int_],
    count_out: NDArray[np.int_],
    known: NDArray[np.bool_],
) -> Floats:
    """Distances drawn to their mean over users, by statistic."""
    chosen = known[:, 0]
    if not chosen.any():
        return np.zeros_like(distance)
    scatter = float((1.0 / count_in[chosen] + 1.0 / count_out[chosen]).mean())
    mean = distance[chosen].mean(axis=0)
    variance = distance[chosen].var(axis=0)
    kept = np.clip(1.0 - scatter / np.maximum(variance, _TINY), 0.0, 1.0)
    return np.asarray(mean + kept * (distance - mean), dtype=np.float64)


def _mean(values: Floats, chosen: NDArray[np.bool_], count: NDArray[np.int_]) -> Floats:
    total = np.where(chosen, values, 0.0).sum(axis=0)
    return np.asarray(total / np.maximum(count, 1), dtype=np.float64)


def _basis(vectors: Floats) -> Floats:
    """Orthonormal columns that span those of `vectors`, `[items, rank]`."""
    left, spectrum, _ = np.linalg.svd(vectors, full_matrices=False)
    if spectrum[0] <= 0:
        return np.zeros((len(vectors), 1))
    return np.asarray(left[:, spectrum > 1e-6 * spectrum[0]], dtype=np.float64)


def _per_user(values: Floats, histories: Histories) -> Floats:
    sums = np.bincount(histories.user_of_event, values, minlength=histories.n_users)
    return np.asarray(sums, dtype=np.float64)
