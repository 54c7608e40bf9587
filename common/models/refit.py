"""What a shop makes of the shared model with its own logs: `shop` serving.

Candidates, from the shop's own events, exactly, nothing leaves:

alone    implicit ALS from scratch, λ chosen;
shared   the shared item vectors as they are;
stacked  shared vectors beside b times the shop's own, a shopper is folded into both;
refitted one step of ALS on the stacked item vectors, with themselves as prior of strength κ.

The last two are matrix factorisation's; a shared model of another kind races as it is against
alone, by what a shopper takes next, also where it predicts ratings. Alone reads no ratings. Each
hides some events of every user, ranks them among all other items, and the best one is
trained again on all events. Alone is a candidate, so that joining does not cost quality.
The released vectors have seen the hidden events (through noise, among everybody's), which
favours them a little: without privacy and with few shops most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from common.arrays import Floats, Histories, Ints
from common.config import Settings
from common.models.base import Model
from common.models.holdout import Holdout, hide_events
from common.models.mf import MatrixFactorisation
from common.models.own import own_model, train_own, weight_of_items
from common.models.ridge import solve_rows, transpose
from common.models.weights import reads_weights

__all__ = ["Choice", "RefitSettings", "ShopModel", "refit", "refit_beside_alone", "train_alone"]


class RefitSettings(Settings):
    """How a shop tunes itself. Nothing here touches a release."""

    embedding_dim: int = Field(default=64, gt=0, le=512)
    """Length of the shop's own vectors."""
    unobserved_weight: float = Field(default=0.3, gt=0)
    """α0 of the shop's own ALS."""
    regularisations: tuple[float, ...] = Field(
        default=(0.007, 0.01, 0.014, 0.02, 0.03, 0.05, 0.08), min_length=1
    )
    """λ to choose from, increasing: each starts where the one before ended. Coming from above,
    a large shop can get stuck where a strong λ has shrunk all vectors to nothing."""
    epochs: int = Field(default=2, gt=0)
    """Epochs of ALS for each λ, and to train the winner on all events; twice for the first λ."""
    own_weights: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4)
    """b to choose from: weight of the shop's own vectors beside the shared ones."""
    prior_strengths: tuple[float, ...] = (20.0, 5.0)
    """κ to choose from, where item vectors have a mean square of 1 per item."""
    hidden_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of a user's events that is hidden to choose (at least one)."""
    max_hidden: int = Field(default=5, gt=0)
    """Most events that are hidden of one user."""
    rivals: float | None = Field(default=None, gt=0)
    """Items drawn at random that a hidden event must beat; absent: a tenth of the catalogue,
    which stands for a place among the first ten of a list of everything."""
    own_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the shared model's signal that is this shop's own: it was trained on the
    hidden events too, and flatters itself with them by so much."""
    optimism: float = Field(default=0.15, ge=0, le=1)
    """Part of its value that a candidate with shared vectors loses at an own share of 1."""
    margin: float = Field(default=0.5, ge=0)
    """Standard errors by which a later candidate must beat an earlier, simpler one. The shared
    model as it is needs none: it is the simplest of all, and what a shop without evidence
    is best served with."""


@dataclass(frozen=True)
class Choice:
    """Which candidate won, and on what evidence. Private to the shop.

    Attributes:
        name: `alone`, `shared`, `stacked` or `refitted`.
        regularisation: λ of the shop's own vectors.
        own_weight: b, None where the candidate has no shared or no own vectors.
        prior_strength: κ, None without refit.
        validation: mean value of hidden events by candidate (see `Holdout.value`).
        hidden_users: users with hidden events.
    """

    name: str
    regularisation: float
    own_weight: float | None
    prior_strength: float | None
    validation: dict[str, float]
    hidden_users: int


@dataclass(frozen=True)
class ShopModel:
    """A model under the `shop` guarantee: it may tell about this shop's logs, never released."""

    model: Model
    choice: Choice

    def fold_in(self, histories: Histories) -> Floats:
        """Vectors of shoppers, `[users, dim]`."""
        return self.model.fold_in(histories)

    def scores(self, user_vectors: Floats) -> Floats:
        """Scores of all items, `[users, items]`."""
        return self.model.scores(user_vectors)

    @property
    def reads_weights(self) -> bool:
        """Whether the model takes weights for ratings."""
        return reads_weights(self.model)


@dataclass(frozen=True)
class _Candidate:
    name: str
    regularisation: float
    own_weight: float | None = None
    prior_strength: float | None = None

    @property
    def label(self) -> str:
        parts = [self.name, f"λ={self.regularisation:g}"]
        parts += [] if self.own_weight is None else [f"b={self.own_weight:g}"]
        parts += [] if self.prior_strength is None else [f"κ={self.prior_strength:g}"]
        return " ".join(parts)


def train_alone(
    histories: Histories,
    settings: RefitSettings,
    rng: np.random.Generator,
    times: Ints | None = None,
) -> ShopModel:
    """Train a shop that takes part in nothing: the rival that joining has to beat.

    Args:
        histories: the shop's events.
        settings: candidates.
        rng: hides events and starts the vectors.
        times: `[events]`, when each event was last met, so that the latest are hidden; None
            hides random ones.
    """
    race, own = _race_alone(histories, settings, rng, times)
    return _finish(race, None, histories.unweighted(), own, settings)


def refit(
    shared: Model,
    histories: Histories,
    settings: RefitSettings,
    rng: np.random.Generator,
    times: Ints | None = None,
) -> ShopModel:
    """Make the best of a shared model and the shop's own events.

    Args:
        shared: the released model, of any kind; only of matrix factorisation is there more
            to choose than to take it as it is.
        histories: the shop's events, with their ratings if the model reads them.
        settings: candidates.
        rng: hides events and starts the vectors.
        times: `[events]`, when each event was last met, so that the latest are hidden; None
            hides random ones.
    """
    race, own = _race_alone(histories, settings, rng, times)
    _enter_joint(race, shared, own, settings)
    return _finish(race, shared, histories.unweighted(), own, settings)


def refit_beside_alone(
    shared: Model,
    histories: Histories,
    settings: RefitSettings,
    rng: np.random.Generator,
    times: Ints | None = None,
) -> tuple[ShopModel, ShopModel]:
    """What `refit` and `train_alone` return for the same `rng`, in little more than one's time."""
    race, own = _race_alone(histories, settings, rng, times)
    histories = histories.unweighted()
    alone = _finish(race, None, histories, own, settings)
    _enter_joint(race, shared, own, settings)
    own = alone.model.item_vectors.astype(np.float64)
    model = _build(race.best, shared, histories, own, settings)
    return ShopModel(model, race.choice), alone


def _race_alone(
    histories: Histories, settings: RefitSettings, rng: np.random.Generator, times: Ints | None
) -> tuple[_Race, Floats]:
    """Hide events; the candidates without shared vectors; own vectors of the best of them."""
    rivals = histories.n_items / 10 if settings.rivals is None else settings.rivals
    share, most = settings.hidden_share, settings.max_hidden
    hold = hide_events(histories, share, most, rng, rivals=rivals, times=times)
    start = rng.normal(0.0, 0.1, (histories.n_items, settings.embedding_dim))
    race = _Race(hold, settings)
    own = _enter_alone(race, start / np.sqrt(settings.embedding_dim), settings)
    return race, own


def _finish(
    race: _Race,
    shared: Model | None,
    histories: Histories,
    own: Floats,
    settings: RefitSettings,
) -> ShopModel:
    """Train the winner again on all events."""
    best = race.best
    if best.name != "shared":
        own = train_own(
            histories, own, best.regularisation, settings.epochs, settings.unobserved_weight
        )
        own = own.astype(np.float32).astype(np.float64)
    return ShopModel(_build(best, shared, histories, own, settings), race.choice)


class _Race:
    """Keeps the best candidate; a later one must win by a margin over paired users.

    Without evidence (fewer than two users with hidden events) `shared` is best, else the first.
    """

    def __init__(self, hold: Holdout, settings: RefitSettings) -> None:
        self.hold = hold
        self.rest = hold.rest.unweighted()
        self.margin = settings.margin
        self.discount = 1.0 - settings.optimism * settings.own_share
        self.values: dict[_Candidate, Floats] = {}
        self.best = _Candidate("alone", 0.0)

    @property
    def choice(self) -> Choice:
        means = {c.label: float(v.sum() / max(len(v), 1)) for c, v in self.values.items()}
        best, users = self.best, len(self.hold.users)
        return Choice(
            best.name, best.regularisation, best.own_weight, best.prior_strength, means, users
        )

    def enter(self, candidate: _Candidate, model: Model) -> None:
        value = self.hold.value(model) * (1.0 if candidate.name == "alone" else self.discount)
        if not self.values or self._beats(value, self.values[self.best], candidate):
            self.best = candidate
        self.values[candidate] = value

    def _beats(self, value: Floats, best: Floats, candidate: _Candidate) -> bool:
        is_shared = candidate.name == "shared"
        if len(value) < 2:
            return is_shared
        gain = value - best
        margin = 0.0 if candidate.own_weight is None else self.margin  # alone, or as it is
        return bool(gain.mean() > margin * gain.std(ddof=1) / np.sqrt(len(gain)))


def _enter_alone(race: _Race, start: Floats, settings: RefitSettings) -> Floats:
    """Every λ in turn; own vectors of the best."""
    rest, vectors, best = race.rest, start, start
    for position, strength in enumerate(settings.regularisations):
        epochs = settings.epochs * (2 if position == 0 else 1)
        vectors = train_own(rest, vectors, strength, epochs, settings.unobserved_weight)
        candidate = _Candidate("alone", strength)
        race.enter(candidate, own_model(rest, vectors, strength, settings.unobserved_weight))
        if race.best == candidate:
            best = vectors
    return best


def _enter_joint(race: _Race, shared: Model, vectors: Floats, settings: RefitSettings) -> None:
    """Candidates with shared vectors, all with the λ that is best alone."""
    strength = race.best.regularisation
    rest = race.rest
    candidates = [_Candidate("shared", strength)]
    stacks = isinstance(shared, MatrixFactorisation) and shared.item_embeddings.any()
    if stacks:  # popularity alone has no vectors for it
        candidates += [_Candidate("stacked", strength, b) for b in settings.own_weights]
    for candidate in candidates:
        race.enter(candidate, _build(candidate, shared, rest, vectors, settings))
    if race.best.own_weight is None:
        return
    for kappa in settings.prior_strengths:
        refitted = _Candidate("refitted", strength, race.best.own_weight, kappa)
        race.enter(refitted, _build(refitted, shared, rest, vectors, settings))


def _build(
    candidate: _Candidate,
    shared: Model | None,
    histories: Histories,
    own: Floats,
    settings: RefitSettings,
) -> Model:
    if shared is None or candidate.name == "alone":
        return own_model(histories, own, candidate.regularisation, settings.unobserved_weight)
    if not isinstance(shared, MatrixFactorisation):
        return shared
    if candidate.own_weight is None:
        return replace(shared, popularity=_popularity(histories, shared))
    return _stack(candidate, shared, histories, own)


def _stack(
    candidate: _Candidate, shared: MatrixFactorisation, histories: Histories, own: Floats
) -> MatrixFactorisation:
    """Shared vectors beside b times the own ones, both with mean square 1 per item."""
    scale = _unit_scale(shared.item_embeddings)
    weight = (candidate.own_weight or 0.0) * _unit_scale(own)
    stacked: Floats = np.hstack([shared.item_embeddings.astype(np.float64) * scale, own * weight])
    ridge = shared.settings.regularisation * scale**2
    noise = shared.noise_variance
    if noise is not None:
        noise = (noise * scale**2).astype(np.float32)
    model = MatrixFactorisation(
        stacked.astype(np.float32),
        shared.item_bias,
        _popularity(histories, shared),
        shared.item_weight,
        shared.settings.model_copy(update={"regularisation": ridge}),
        noise,
    )
    if candidate.prior_strength is None:
        return model
    users = model.fold_in(histories)
    strengths: Floats = np.full(histories.n_items, candidate.prior_strength, np.float64)
    alpha = shared.settings.unobserved_weight
    refitted = solve_rows(transpose(histories), users, strengths, alpha, stacked)
    return replace(model, item_embeddings=refitted.astype(np.float32))


def _unit_scale(vectors: NDArray[np.floating[Any]]) -> float:
    norm = float(np.linalg.norm(vectors))
    return float(np.sqrt(len(vectors))) / norm if norm > 0 else 0.0


def _popularity(histories: Histories, shared: MatrixFactorisation) -> NDArray[np.float32]:
    """Popularity here, smoothed by a tenth as many events of shared popularity."""
    counts = weight_of_items(histories)
    share = shared.popularity / shared.popularity.sum()
    smoothed: Floats = counts + max(0.1 * float(counts.sum()), 1.0) * share
    return smoothed.astype(np.float32)
