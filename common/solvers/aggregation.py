"""How the server combines what clients return of a step in which each moved the state itself.

Everything here is done to releases, after their noise: it costs no budget and changes no
guarantee. It decides what one client can do to the others' model, which is another question
than what the model tells of a shopper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from common.config import Settings
from common.errors import Code, ConfigError, PlanError

__all__ = ["SERVER_STATE", "Aggregation", "Rule"]

Rule: TypeAlias = Literal[
    "fedavg", "fedavgm", "fedadam", "krum", "multi-krum", "median", "trimmed-mean"
]
SERVER_STATE: Final = "server."
"""Begins the names of arrays that the server keeps for itself: in the state and so in its
checkpoints, in no message and no model."""

_OPTIMISER: Final = ("server_learning_rate", "server_beta_1")
_USED: Final[Mapping[Rule, tuple[str, ...]]] = {
    "fedavg": (),
    "fedavgm": _OPTIMISER,
    "fedadam": (*_OPTIMISER, "server_beta_2", "server_tau"),
    "krum": ("byzantine",),
    "multi-krum": ("byzantine", "averaged"),
    "median": ("byzantine",),
    "trimmed-mean": ("byzantine",),
}


class Aggregation(Settings):
    """How updates are combined; settings of a solver whose steps average inherit from it.

    Guarantee:
        Post-processing of releases: whatever is chosen here, each client's ε is the same.
        A robust rule takes nobody's word: clients count alike, whatever population they
        declare, and up to `byzantine` of them may send anything within the bounds of arrays.
    """

    aggregation: Rule = "fedavg"
    """`fedavg`: average by declared population. `fedavgm`, `fedadam`: a step of the server
    towards that average. The others are robust: they take clients unweighted."""
    byzantine: int = Field(default=1, ge=1, le=1_000_000)
    """f: how many clients may send anything; of the robust rules."""
    averaged: int | None = Field(default=None, ge=1, le=1_000_000)
    """Of `multi-krum`: how many clients are averaged, at most those that answered less f + 2;
    absent: so many."""
    server_learning_rate: float = Field(default=1.0, ge=1e-6, le=1e6)
    """η: length of the server's step; under `fedadam` about what an entry moves by in a round."""
    server_beta_1: float = Field(default=0.9, ge=0, le=0.9999)
    """β1 of `fedadam`; the momentum of `fedavgm`."""
    server_beta_2: float = Field(default=0.99, ge=0, le=0.999999)
    """β2 of `fedadam`."""
    server_tau: float = Field(default=1e-3, ge=1e-12, le=1e6)
    """τ of `fedadam`: updates well below it are not enlarged."""

    @model_validator(mode="after")
    def _all_used(self) -> Self:
        used = {"aggregation", *_USED[self.aggregation]}
        unused = [
            name
            for name, field in Aggregation.model_fields.items()
            if name not in used and getattr(self, name) != field.default
        ]
        if unused:
            raise ValueError(f"aggregation {self.aggregation!r} has no use for {', '.join(unused)}")
        return self

    @property
    def combine(self) -> Aggregation | None:
        """What a step holds: these settings without a solver's; None for the plain average."""
        if self.aggregation == "fedavg":
            return None
        return Aggregation(**{name: getattr(self, name) for name in Aggregation.model_fields})

    @property
    def robust(self) -> bool:
        """Whether some clients may send anything."""
        return "byzantine" in _USED[self.aggregation]

    @property
    def moves(self) -> bool:
        """Whether the server takes a step of its own, with state of its own."""
        return "server_learning_rate" in _USED[self.aggregation]

    @property
    def least_clients(self) -> int:
        """Fewest clients of which the rule makes anything.

        2f + 3 for Krum (Blanchard et al. 2017, Proposition 1); for coordinate-wise rules an
        honest majority (Yin et al. 2018).
        """
        if not self.robust:
            return 1
        if "krum" not in self.aggregation:
            return 2 * self.byzantine + 1
        return max(2 * self.byzantine + 3, (self.averaged or 0) + self.byzantine + 2)

    def check_clients(self, clients: int, *, central: bool) -> None:
        """Refuse what cannot work, before anybody is asked.

        Args:
            clients: on the roster of the job.
            central: steps are secure sums.

        Raises:
            PlanError: `plan-mode`, secure sums hide what the rule would look at.
            ConfigError: `config-invalid`, there are too few clients for the rule.
        """
        if central and self.aggregation != "fedavg":
            raise PlanError(
                Code.PLAN_MODE,
                f"aggregation {self.aggregation!r} in mode `distributed`: the server sees the "
                "sum of all clients alone, and no client's update.",
                where="aggregation",
                remedy="Leave it out, or choose mode `local`.",
            )
        if clients < self.least_clients:
            raise ConfigError(
                Code.CONFIG_INVALID,
                f"{self.aggregation!r} with {self.byzantine} that may send anything takes "
                f"{self.least_clients} clients at least, and there are {clients}.",
                where="aggregation",
                remedy="Take more clients, fewer `byzantine` ones, or another rule.",
            )
