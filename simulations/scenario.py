"""Everything that one simulation is: a TOML file, or options of `hushrec simulate`, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from common.config import Settings
from common.errors import Code, ConfigError
from common.evaluation.protocols import ProtocolName
from common.privacy.plan import Mode, Unit
from simulations.marketplace import MarketplaceSettings, demo_settings

__all__ = ["EngineName", "Scenario", "ServingName"]

EngineName = Literal["inprocess", "ray"]
ServingName = Literal["joint", "shop"]


class Scenario(Settings):
    """One simulation. What is absent has the value that users would expect."""

    data: str | None = None
    """Path of the events; absent: the marketplace."""
    catalogue: str | None = None
    """Path of a product file; absent: the marketplace's, or derived from events and marked."""
    marketplace: MarketplaceSettings | None = None
    """The synthetic data, when there is no `data`; absent: the demo's."""
    clients: int | None = Field(default=None, gt=0)
    """How many clients the users are dealt to; absent: as many as the partition makes."""
    partition: str = ""
    """`column:NAME`, `hash`, `dirichlet:ALPHA` or `sizes:FILE`; absent: the marketplace's
    shops, or `hash`."""
    min_users: int = Field(default=50, ge=1)
    """Under `column`: regions with fewer users are joined into one client."""
    model: str | None = None
    """Kind of the model; absent: what the solver makes. Another one is refused."""
    solver: str = "subspace"
    """How: a name in `common.solvers.registry.SOLVERS`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Further settings of the solver."""
    rounds: int | None = Field(default=None, gt=0)
    """Federated rounds; absent: the solver's own."""
    dim: int | None = Field(default=None, gt=0)
    """Length of the vectors; absent: the solver's own rule."""
    serving: ServingName = "joint"
    """Whose figures are `metrics`; both are always measured."""
    mode: Mode = "local"
    """Who adds the noise; `none` needs `no_privacy`."""
    no_privacy: bool = False
    """Said in words, because nothing protects anybody then."""
    threshold: int | None = Field(default=None, gt=0)
    """Mode `distributed`: fewest clients of which a secure sum is made; absent: 80%."""
    colluders: int | None = Field(default=None, gt=0)
    """Mode `distributed`: clients that may collude with the server; absent: 10%, at least 1."""
    record_sums: bool = False
    """Mode `distributed`: keep what the server sees of the sums, for who wants to look."""
    epsilon: float | None = None
    """Target ε of each client; absent: 8, except in mode `none`."""
    delta: float | None = None
    """δ of each client; absent: declared population of all clients to the power of -1.1."""
    lifetime_epsilon: float | None = Field(default=None, gt=0)
    """Lifetime cap in every client's policy; absent: what the plan takes, and its dearest
    release once more, for a client that dies between computing and sending."""
    unit: Unit = "user"
    """What one neighbour adds."""
    evaluation_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the budget for one private evaluation that clients release themselves."""
    protocol: ProtocolName = "full"
    """How held-out items are ranked."""
    validation: bool = False
    """Judge by events held out from training instead of the test events: for choosing."""
    seed: int = Field(default=0, ge=0)
    """Decides everything public: data, partition, initial factors. Never the noise."""
    fixed_noise: bool = False
    """Take noise from `seed` too: repeatable, and marked not private."""
    engine: EngineName = "inprocess"
    """`inprocess`, or Flower's own on `ray`."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.data is not None and self.marketplace is not None:
            raise ValueError("data and marketplace exclude each other")
        return self

    def checked(self) -> Self:
        """Itself, if its parts fit together.

        Raises:
            ConfigError: `plan-mode`, mode `none` without `no_privacy`, or the reverse, or a
                value that another mode has no use for; `config-invalid`, a value would be
                ignored beside another.
        """
        self._check_ignored()
        self._check_sums()
        if self.mode == "none" and not self.no_privacy:
            raise ConfigError(
                Code.PLAN_MODE,
                "mode `none` protects nobody.",
                where="mode",
                remedy="Say --no-privacy as well if that is what you want.",
            )
        if self.no_privacy and self.mode != "none":
            raise ConfigError(
                Code.PLAN_MODE,
                f"--no-privacy contradicts mode {self.mode!r}.",
                where="mode",
                remedy="Leave it out, or say --mode none.",
            )
        if self.mode == "none" and self.epsilon is not None:
            raise ConfigError(
                Code.PLAN_MODE,
                f"ε = {self.epsilon:g} means nothing in mode `none`.",
                where="epsilon",
                remedy="Leave it out, or choose mode `local`.",
            )
        return self

    def _check_ignored(self) -> None:
        kind = self.partition.strip().partition(":")[0]
        if self.clients is not None and kind in ("column", "sizes"):
            raise _contradiction("clients", f"partition `{self.partition}` makes its own clients")
        for name, value, setting in (
            ("rounds", self.rounds, "rounds"),
            ("dim", self.dim, "embedding_dim"),
        ):
            if value is not None and setting in self.settings:
                raise _contradiction(name, f"setting `{setting}` of the solver says the same")

    def _check_sums(self) -> None:
        if self.mode == "distributed":
            return
        for name, given in (
            ("threshold", self.threshold is not None),
            ("colluders", self.colluders is not None),
            ("record_sums", self.record_sums),
        ):
            if given:
                raise ConfigError(
                    Code.PLAN_MODE,
                    f"mode {self.mode!r} makes no secure sums.",
                    where=name,
                    remedy="Leave it out, or choose mode `distributed`.",
                )

    def located(self) -> Self:
        """The same with absolute paths, so that it means the same from any folder."""
        changes = {
            name: str(Path(value).resolve())
            for name, value in (("data", self.data), ("catalogue", self.catalogue))
            if value
        }
        kind, _, rest = self.partition.strip().partition(":")
        if kind == "sizes" and rest:
            changes["partition"] = f"sizes:{Path(rest).resolve()}"
        return self.model_copy(update=changes)

    @property
    def target_epsilon(self) -> float | None:
        """Target ε, None without privacy."""
        if self.mode == "none":
            return None
        return 8.0 if self.epsilon is None else self.epsilon

    @property
    def synthetic(self) -> MarketplaceSettings:
        """The marketplace's settings."""
        return self.marketplace if self.marketplace is not None else demo_settings(self.seed)

    @property
    def partition_spec(self) -> str:
        """The partition in words."""
        if self.partition:
            return self.partition
        return "column:shop" if self.data is None and self.clients is None else "hash"


def _contradiction(name: str, why: str) -> ConfigError:
    return ConfigError(
        Code.CONFIG_INVALID, f"{why}.", where=name, remedy="Leave one of the two out."
    )
