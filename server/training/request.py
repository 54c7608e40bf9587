"""What an operator asks for: `request.toml`, from which the server app makes the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field

from common.config import Settings, toml_lines
from common.errors import Code, ConfigError
from common.files import write_atomic
from common.privacy.plan import Unit

__all__ = ["REQUEST_FILE", "Request"]

REQUEST_FILE: Final = "request.toml"


class Request(Settings):
    """One training. What is absent has the value that operators would expect."""

    solver: str = "subspace"
    """How: a name in `common.solvers.registry.SOLVERS`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Further settings of the solver."""
    rounds: int | None = Field(default=None, gt=0)
    """Federated rounds; absent: the solver's own."""
    dim: int | None = Field(default=None, gt=0)
    """Length of the vectors; absent: the solver's own rule."""
    mode: Literal["local", "distributed"] = "local"
    """Who adds the noise; `distributed` sums securely among all members."""
    unit: Unit = "user"
    """What one neighbour adds."""
    epsilon: float = Field(default=8.0, gt=0)
    """ε of each client."""
    delta: float | None = Field(default=None, gt=0, lt=1)
    """δ of each client; absent: declared population of all clients to the power of -1.1."""
    evaluation_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the budget for one private evaluation that clients release themselves."""
    threshold: int | None = Field(default=None, gt=0)
    """Mode `distributed`: fewest clients of which a secure sum is made; absent: 80%."""
    colluders: int | None = Field(default=None, gt=0)
    """Mode `distributed`: clients that may collude with the server; absent: 10%, at least 1."""
    seed: int = Field(default=0, ge=0)
    """Decides what is public, like initial factors. Never the noise."""
    quorum: int = Field(default=1, ge=1)
    """Fewest clients whose releases make a round; mode `distributed` has its threshold."""
    deadline_seconds: float = Field(default=600.0, gt=0, le=86_400)
    """How long a round, or a stage of a secure sum, waits for its clients."""
    wait_seconds: float = Field(default=120.0, ge=0, le=86_400)
    """How long the start waits for members to appear."""
    attempts: int = Field(default=2, ge=1)
    """Most sessions of one step's secure sum until a person resumes the training; each that came
    to masked words costs clients what a release costs."""
    promote: bool = True
    """Make the finished model the one that clients are given."""

    @property
    def target_epsilon(self) -> float:
        """ε of each client."""
        return self.epsilon

    def checked(self) -> Self:
        """Itself, if its parts fit together.

        Raises:
            ConfigError: `plan-mode`, a value that another mode has no use for;
                `config-invalid`, two values that say the same.
        """
        for name, given in (("threshold", self.threshold), ("colluders", self.colluders)):
            if given is not None and self.mode != "distributed":
                raise ConfigError(
                    Code.PLAN_MODE,
                    f"mode {self.mode!r} makes no secure sums.",
                    where=name,
                    remedy="Leave it out, or choose mode `distributed`.",
                )
        for name, value, setting in (
            ("rounds", self.rounds, "rounds"),
            ("dim", self.dim, "embedding_dim"),
        ):
            if value is not None and setting in self.settings:
                raise ConfigError(
                    Code.CONFIG_INVALID,
                    f"setting `{setting}` of the solver says the same.",
                    where=name,
                    remedy="Leave one of the two out.",
                )
        return self

    def save(self, run: Path) -> None:
        """Write `request.toml` into a run's folder.

        Raises:
            DataError: it cannot be written.
        """
        values = self.model_dump(mode="json", exclude_none=True)
        write_atomic(run / REQUEST_FILE, toml_lines(values).encode())

    @classmethod
    def of_run(cls, run: Path) -> Self | None:
        """The request of a run; None for one that was prepared with its job.

        Raises:
            ConfigError: it cannot be read or meant.
        """
        path = run / REQUEST_FILE
        return cls.load_toml(path).checked() if path.exists() else None
