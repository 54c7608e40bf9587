"""Everything that a report shows, and nothing else: the runner fills it in."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from common.config import Settings
from common.privacy.plan import Mode, Unit
from simulations.report.ratings_data import RatingErrors
from simulations.report.sums_data import SecureSums, SumTerms

__all__ = [
    "AuditFigures",
    "Breakdown",
    "BreakdownRow",
    "ClientBudget",
    "ClientSpend",
    "DataSummary",
    "Estimate",
    "Guarantee",
    "ListQuality",
    "Method",
    "Phase",
    "PrivateMetric",
    "ReportData",
    "RoundTraffic",
    "Serving",
    "ShopPoint",
    "SizeGroup",
]

Serving: TypeAlias = Literal["joint", "shop"]
MethodName: TypeAlias = Literal[
    "joint", "shop", "alone", "popularity", "noised-popularity", "random"
]


class Estimate(Settings):
    """A mean over users with its 95% interval."""

    mean: float
    low: float
    """Lower end of the interval; equal to `mean` where no interval is known."""
    high: float
    """Upper end of the interval."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        slack = 1e-9 * (1 + abs(self.mean))  # means and quantiles round differently
        if not self.low - slack <= self.mean <= self.high + slack:
            raise ValueError(f"{self.low} <= {self.mean} <= {self.high} does not hold")
        return self


class Method(Settings):
    """Quality of one way to recommend, over all evaluated users."""

    name: MethodName
    metrics: dict[str, Estimate]
    """By metric, `hr@10` and so on; every method has the report's `metric`."""


class ShopPoint(Settings):
    """Quality at one shop; a dot in the picture."""

    shop: str
    """Name of the client."""
    users: int = Field(gt=0)
    """Its evaluated users."""
    alone: float
    """The report's metric when the shop stays alone, exact."""
    joint: float
    """... with `joint` serving."""
    served_shop: float
    """... with `shop` serving."""


class SizeGroup(Settings):
    """Quality at shops of about one size."""

    label: str
    """`60 users`, `1,000 to 3,000 users`."""
    shops: int = Field(gt=0)
    """Shops in the group."""
    users_per_shop: float = Field(gt=0)
    """Their mean size."""
    alone: Estimate
    """The report's metric when the shops stay alone, exact."""
    joint: Estimate
    """... with `joint` serving."""
    served_shop: Estimate
    """... with `shop` serving."""
    gain: Estimate
    """Chosen serving minus alone, interval over paired users."""


class ClientSpend(Settings):
    """What one client has spent, round by round."""

    client: str
    """Name of the client."""
    epsilon: tuple[float, ...]
    """Cumulative after each of the report's `rounds`."""


class ClientBudget(Settings):
    """A client's lifetime cap by its own policy, and what counts towards it after the run."""

    client: str
    """Name of the client."""
    cap: float
    """ε of the cap."""
    delta: float
    """δ of it."""
    filter: str
    """What holds it."""
    in_force: float | None
    """ε by the filter of everything that counts; None if none is finite."""
    spent: float | None
    """Share of the cap that was released."""
    reserved: float | None
    """Share that is reserved, or held for an open job, and was not released."""
    left: float = Field(ge=0, le=1)
    """Share that is left."""
    left_epsilon: float = Field(ge=0)
    """ε of a plan that still fits."""
    refused: int = Field(default=0, ge=0)
    """Requests that the client refused."""


class AuditFigures(Settings):
    """What an audit of the run found, if there was one."""

    created: str
    """When."""
    verdict: str
    """`kept`, `broken` or `nothing promised`."""
    findings: int = Field(ge=0)
    """Broken promises."""
    attacks: tuple[tuple[str, str], ...] = ()
    """Name and result in words of each attack."""


class RoundTraffic(Settings):
    """Bytes over all clients in one round."""

    up: int = Field(ge=0)
    """From clients to the server."""
    down: int = Field(ge=0)
    """From the server to clients."""


class ListQuality(Settings):
    """What the lists are like, hits apart."""

    name: MethodName
    coverage: float = Field(ge=0, le=1)
    """Distinct items recommended, as a share of the catalogue."""
    novelty: float
    """Mean of -log2 of the popularity share of recommended items, in bits."""
    gini: float | None = None
    """Gini coefficient of exposure, None when not computed."""
    diversity: float | None = None
    """1 - mean pairwise cosine in a list, None when not computed."""


class BreakdownRow(Settings):
    """The report's metric in one class of users or items."""

    label: str
    """`5 to 9 events`."""
    users: int = Field(ge=0)
    """Evaluated users in it."""
    values: dict[MethodName, Estimate]
    """By method; the same methods in every row."""


class Breakdown(Settings):
    """The report's metric split by something."""

    by: Literal["activity", "popularity"]
    """Activity of the user, or popularity of the held-out item."""
    rows: tuple[BreakdownRow, ...]
    """In order of activity or popularity."""


class PrivateMetric(Settings):
    """A metric that clients released under the guarantee, and what it really was."""

    name: str
    """`hr@10`."""
    released: float
    """The released value."""
    noise_std: float = Field(ge=0)
    """Standard deviation of its noise."""
    exact: float
    """The exact value; known in simulation only, not a private release."""


class Guarantee(Settings):
    """What is promised."""

    mode: Mode
    """Where the noise is added."""
    terms: SumTerms | None = None
    """Of the secure sums; in mode `distributed` only."""
    unit: Unit
    """Whose change is hidden."""
    neighbouring: str = "add/remove"
    """The neighbouring relation."""
    epsilon: float | None
    """Largest ε over clients, None in mode `none` and where it is `endless`."""
    endless: bool = False
    """The mode adds noise, but no finite ε holds for what is in some client's ledger."""
    delta: float = Field(ge=0, lt=1)
    """δ of each client."""
    accountant: str
    """`PLD`, with its version if there is room."""
    not_promised: tuple[str, ...] = ()
    """Sentences in addition to those that hold for every run."""

    @model_validator(mode="after")
    def _epsilon_fits_mode(self) -> Self:
        if self.endless and self.mode == "none":
            raise ValueError("in mode none nothing is promised that could be endless")
        if (self.epsilon is None) != (self.mode == "none" or self.endless):
            raise ValueError("epsilon is None in mode none or where it is endless, and only there")
        if (self.terms is None) == (self.mode == "distributed"):
            raise ValueError("terms are given in mode distributed, and only there")
        return self


class DataSummary(Settings):
    """What the run was about."""

    source: str
    """File, or the marketplace."""
    users: int
    items: int
    events: int
    first: str
    """Time of the first event."""
    last: str
    """Time of the last event."""
    catalogue: Literal["product-file", "derived"]
    """A public product file, or derived from events (simulation only)."""
    partition: str
    """How users became clients."""
    protocol: str
    """Evaluation protocol, in words."""
    evaluated: int
    """Users with a held-out item."""
    left_out: int = 0
    """Users without one."""
    set_aside: int = 0
    """Bad rows that were set aside."""


class Phase(Settings):
    """A part of the run and how long it took."""

    name: str
    seconds: float = Field(ge=0)


class ReportData(Settings):
    """All that `report.html` is made of."""

    title: str
    """One line."""
    created: str
    """When the run ended, as text."""
    command: str = ""
    """How to repeat the run."""
    config: dict[str, str | int | float | bool | None]
    """Settings by name, as given and as defaulted."""
    data: DataSummary
    metric: str = "hr@10"
    """The metric of headline, pictures and breakdowns; every method has it."""
    serving: Serving
    """The chosen serving."""
    methods: tuple[Method, ...]
    """Joint, shop, alone, popularity, noised popularity, random; in order of display."""
    by_size: tuple[SizeGroup, ...]
    """Gain of joining by size of shop, small ones first."""
    shops: tuple[ShopPoint, ...] = ()
    """Every shop, for the picture."""
    guarantee: Guarantee
    rounds: tuple[str, ...]
    """Names of the rounds."""
    spend: tuple[ClientSpend, ...] = ()
    """ε by round for each client; empty where no ε holds."""
    budgets: tuple[ClientBudget, ...] = ()
    """The lifetime cap of each client; empty where nothing is promised."""
    sums: SecureSums | None = None
    """Noise and shoppers of several shops, where totals are secure sums."""
    audit: AuditFigures | None = None
    """The last audit of the run."""
    traffic: tuple[RoundTraffic, ...]
    """One for each round."""
    lists: tuple[ListQuality, ...]
    """Coverage and novelty."""
    breakdowns: tuple[Breakdown, ...]
    """Quality by user activity and by item popularity."""
    private_metrics: tuple[PrivateMetric, ...] = ()
    """What clients released about quality, if they did."""
    ratings: tuple[RatingErrors, ...] = ()
    """Errors of predicted ratings; empty where the model predicts none."""
    phases: tuple[Phase, ...]
    """Seconds by phase."""
    versions: dict[str, str]
    """HushRec, Python and libraries."""
    seeds: dict[str, str | int]
    """Public seeds by use."""
    seeded_noise: bool = False
    """The noise came from a fixed seed: nothing of the run is private."""
    warnings: tuple[str, ...] = ()
    """Anything else that a reader must know first."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        names = [method.name for method in self.methods]
        missing = [m.name for m in self.methods if self.metric not in m.metrics]
        if self.serving not in names or len(set(names)) < len(names) or missing:
            raise ValueError(f"methods {names} do not all have {self.metric}, or lack the serving")
        if len(self.traffic) != len(self.rounds):
            raise ValueError(f"{len(self.traffic)} entries of traffic, {len(self.rounds)} rounds")
        if any(len(client.epsilon) != len(self.rounds) for client in self.spend):
            raise ValueError("spend of each client needs an entry for each round")
        if (self.guarantee.epsilon is None) == bool(self.spend):
            raise ValueError("spend is given exactly when there is a guarantee")
        if self.sums is not None and len(self.sums.noise) != len(self.rounds):
            raise ValueError("noise of secure sums needs an entry for each round")
        return self

    def method(self, name: str) -> Method | None:
        """The method of this name, None if the run did not evaluate it."""
        return next((method for method in self.methods if method.name == name), None)

    def estimate(self, name: str) -> Estimate | None:
        """The report's metric of a method, None if the run did not evaluate it."""
        method = self.method(name)
        return None if method is None else method.metrics[self.metric]
