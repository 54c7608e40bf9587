"""What a solver is: a sequence of steps, each one sum over users and what follows from it.

`contribute` runs on the client and sees data; its result goes to a mechanism and nowhere
else. Everything else is a pure function of public state: `advance` turns a noised total
into the next state, on the server, or on the client between local steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from common.arrays import Floats, Histories, Ints, State
from common.config import Settings
from common.errors import Code, PlanError
from common.models.base import Model
from common.models.weights import reads_weights
from common.privacy.contributions import Contributions
from common.privacy.inbound import ArraySpec
from common.privacy.plan import ReleaseShape
from common.solvers.aggregation import Aggregation

__all__ = [
    "SUM",
    "Aggregate",
    "ArraySpec",
    "ClientData",
    "ClientLog",
    "Given",
    "NoisyTotal",
    "PublicFacts",
    "Solver",
    "Step",
    "given_to",
]

Aggregate: TypeAlias = Literal["sum", "count", "average"]
SUM: Final = "sum"
"""Name of the released array of a step that sums."""


class ClientData(Protocol):
    """What a client half may read, as `given_to` makes it."""

    @property
    def histories(self) -> Histories:
        """Training events; of weight 1, or with their ratings if the reader reads weights."""
        ...

    @property
    def heldout(self) -> Ints | None:
        """Held-out item of each user for private evaluation, -1 for none, `[users]`."""
        ...


class ClientLog(ClientData, Protocol):
    """What a client knows of its users; `client.store` implements it."""

    @property
    def histories(self) -> Histories:
        """Training events, each of weight 1."""
        ...

    @property
    def rated(self) -> Histories:
        """The same with each entry's latest rating for its weight, NaN where there is none."""
        ...


@dataclass(frozen=True)
class Given:
    """Data as a reader may read them. Sensitive.

    Attributes:
        histories: training events.
        heldout: of `ClientData`.
    """

    histories: Histories
    heldout: Ints | None = None


def given_to(reader: object, log: ClientLog) -> Given:
    """What a solver, or a model that is evaluated, may read of a client's log.

    Guarantee:
        Ratings are within reach of a `reader` that says that it reads weights, and of no other.
    """
    return Given(log.rated if reads_weights(reader) else log.histories, log.heldout)


@dataclass(frozen=True)
class PublicFacts:
    """What everybody may know before a job.

    Attributes:
        n_items: size of the catalogue.
        population: declared number of users over all clients (a constant, not a count).
        clients: number of clients on the roster.
        epsilon: target ε of each client, None without privacy.
        delta: δ of each client.
        signal: declared users behind one unit of noise. Where every client adds all of its
            own that is √(Σ population²) over the clients: with weights by declared population
            the noise of the total is that of one client, and its signal that of so many
            users. Where they share it, `population` times √(honest shares / clients).
        private: whether the job's mode gives a guarantee.
        central: the noise is added to the total: every step is one secure sum at a state
            that all clients share, so that no client ever sees its own share of it.
    """

    n_items: int
    population: int
    clients: int
    epsilon: float | None
    delta: float
    signal: float
    private: bool
    central: bool = False


@dataclass(frozen=True)
class NoisyTotal:
    """A total as the server (or a client between local steps) may use it.

    Attributes:
        values: `[rows, width]`, the weighted sum of the clients' noised sums; of a secure sum
            the plain total.
        noise_std: standard deviation of the noise on each entry, 0 without privacy.
        population: declared users behind the total, weighted as the values are: of those
            clients that are in it, and no others.
        sampling_rate: Poisson rate of each user in the sum.
    """

    values: Floats
    noise_std: float
    population: float
    sampling_rate: float = 1.0


@dataclass(frozen=True)
class Step:
    """One step of a job.

    Attributes:
        release: what a client releases in it.
        inputs: the arrays that the server sends, by name; the client checks each.
        aggregate: `sum`, the server sums, weighted by declared population where every client
            adds the same noise, and calls `advance`; `count`, the same with plain sums,
            because every user must count the same; or `average`, the client itself calls
            `advance` after each of `release.steps` noisy sums on its own, and the server
            averages what it releases of them by declared population. In a secure sum there
            are no weights, and no `average`.
        released: under `average`, the names of the `inputs` that a client returns; empty for
            all. The server keeps every other array as it had it, whatever a client says.
        combine: under `average`, how the server combines what clients return; None for the
            average by declared population.

    Raises:
        PlanError: `plan-mode`, `combine` for a step that it makes no sense for.
    """

    release: ReleaseShape
    inputs: Mapping[str, ArraySpec]
    aggregate: Aggregate = "sum"
    released: tuple[str, ...] = ()
    combine: Aggregation | None = None

    def __post_init__(self) -> None:
        if self.combine is None:
            return
        if self.aggregate != "average":
            raise PlanError(
                Code.PLAN_MODE,
                f"{self.combine.aggregation!r} of a step of kind `{self.aggregate}`: what its "
                "clients release are sums, not updates that could be compared.",
                where=f"step {self.release.step!r}",
                remedy="Leave it out, or let clients return a state (`average`).",
            )
        bound = [name for name, spec in self.outputs.items() if spec.positive or spec.orthonormal]
        if self.combine.moves and bound:
            raise PlanError(
                Code.PLAN_MODE,
                f"{self.combine.aggregation!r} would leave the bounds of {', '.join(bound)}.",
                where=f"step {self.release.step!r}",
                remedy="Choose `fedavg` or a robust rule for it.",
            )

    @property
    def outputs(self) -> Mapping[str, ArraySpec]:
        """Name and shape of every array that a client releases in this step."""
        if self.aggregate == "average":
            return {name: self.inputs[name] for name in self.released or self.inputs}
        shape = (self.release.rows, self.release.width)
        return {SUM: ArraySpec(shape, max_abs=1e30)}


class Solver(Protocol):
    """How a model is fitted in steps; client half and server half side by side.

    A solver class has an attribute `Settings` (its frozen settings) and is constructed
    from an instance of it and the `PublicFacts`.
    """

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order; a function of settings and public facts alone."""
        ...

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        """Name and shape of every array of the finished model."""
        ...

    @property
    def model_kind(self) -> str:
        """Kind of the finished model, a name in `common.models.registry.KINDS`."""
        ...

    @property
    def model_settings(self) -> Settings:
        """Settings of the finished model; from the solver's and public facts, never data."""
        ...

    def initial_state(self, seed: int) -> State:
        """Public state before the first step; `seed` is public and not for noise."""
        ...

    def contribute(
        self, step: int, state: State, data: ClientData, users: Ints
    ) -> Iterator[Contributions]:
        """What each of `users` (positions, increasing) contributes, in batches. Client."""
        ...

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:
        """The next public state. Never sees data."""
        ...

    def finish(self, state: State) -> Model:
        """The model from the last state. Never sees data."""
        ...
