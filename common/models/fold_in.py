"""A shopper's vector from their own events: the ridge solution of implicit ALS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from common.arrays import Floats, Histories
from common.config import Settings
from common.models.ridge import Spectrum, solve_rows

__all__ = ["FoldIn", "fold_in_ridge", "fold_in_users"]


class FoldIn(Settings):
    """How a shopper is folded in and scored. Public."""

    unobserved_weight: float = Field(default=0.3, ge=0, le=1e3)
    """α0: weight of a score of 0 on every item, interacted with or not."""
    regularisation: float = Field(default=0.01, ge=1e-6, le=1e6)
    """λ: weight of the squared norm of the shopper's vector."""
    frequency_exponent: float = Field(default=0.0, ge=0, le=1)
    """ν: λ is multiplied by (weight of the user's events + α0 items)^ν (Rendle et al. 2021)."""
    popularity_mix: float = Field(default=0.0, ge=-1e3, le=1e3)
    """Weight of log(popularity / mean popularity) in the score of a shopper with events."""


def fold_in_users(
    histories: Histories,
    item_embeddings: Floats,
    item_weight: Floats,
    settings: FoldIn,
    noise_variance: Floats | None = None,
    spectrum: Spectrum | None = None,
) -> Floats:
    """Vectors of shoppers, each from their own events alone.

    User u's vector minimises Σ_i w_i (1 - x·v_i)² + α0 Σ_all (x·v_i)² + λ_u ‖x‖², the user
    half of implicit ALS (Hu, Koren, Volinsky 2008, in the form of Rendle et al. 2021). With
    `noise_variance`, v_i is known up to isotropic noise and both sums are expectations over
    it: each squared score gains s_i² ‖x‖².

    Args:
        histories: `[users]`, events with their weights.
        item_embeddings: `[items, dim]`.
        item_weight: `[items]`, multiplies the weight of an event on the item.
        settings: α0, λ, ν.
        noise_variance: `[items]`, s_i², variance of each coordinate of an embedding.
        spectrum: of the embeddings, where it is at hand.

    Returns:
        `[users, dim]`; zero for a user without events or without a finite solution. Alone
        and in a batch a user's vector is the same to the last bit where ν is 0; a power may
        round by its place in the array.
    """
    vectors = np.asarray(item_embeddings, dtype=np.float64)
    weights = histories.weights * item_weight[histories.items]
    ridge = fold_in_ridge(histories, weights, settings, noise_variance)
    weighted = replace(histories, weights=weights)
    return solve_rows(weighted, vectors, ridge, settings.unobserved_weight, spectrum=spectrum)


def fold_in_ridge(
    histories: Histories, weights: Floats, settings: FoldIn, noise_variance: Floats | None
) -> Floats:
    """What is added to the diagonal of each user's system, `[users]`.

    Args:
        histories: `[users]`.
        weights: `[events]`, with those of the items in them.
        settings: α0, λ, ν.
        noise_variance: `[items]`, or None.
    """
    unobserved = settings.unobserved_weight
    owner = histories.user_of_event
    mass = np.bincount(owner, weights, minlength=histories.n_users)
    power: Floats = np.power(mass + unobserved * histories.n_items, settings.frequency_exponent)
    ridge = settings.regularisation * power
    if noise_variance is not None:
        noise = weights * noise_variance[histories.items]
        ridge = ridge + np.bincount(owner, noise, minlength=histories.n_users)
        ridge += unobserved * float(noise_variance.sum())
    return ridge
