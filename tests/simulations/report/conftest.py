"""Sample data of a report: two big shops and thirty small ones, figures made up."""

import pytest

from simulations.report.data import (
    AuditFigures,
    Breakdown,
    BreakdownRow,
    ClientBudget,
    ClientSpend,
    DataSummary,
    Estimate,
    Guarantee,
    ListQuality,
    Method,
    Phase,
    PrivateMetric,
    ReportData,
    RoundTraffic,
    ShopPoint,
    SizeGroup,
)
from simulations.report.sums_data import SecureSums, ShopsEpsilon, SumNoise, SumTerms


def around(mean: float, half: float = 0.01) -> Estimate:
    return Estimate(mean=mean, low=mean - half, high=mean + half)


def _methods() -> tuple[Method, ...]:
    values = {
        "joint": (0.186, 0.098),
        "shop": (0.227, 0.121),
        "alone": (0.213, 0.114),
        "popularity": (0.127, 0.064),
        "noised-popularity": (0.125, 0.063),
        "random": (0.010, 0.005),
    }
    return tuple(
        Method(
            name=name,
            metrics={
                "hr@10": around(hr, min(0.01, hr / 3)),
                "ndcg@10": around(ndcg, min(0.006, ndcg / 3)),
                "mrr@10": around(ndcg * 0.8, min(0.005, ndcg / 4)),
            },
        )
        for name, (hr, ndcg) in values.items()
    )


def _sizes() -> tuple[SizeGroup, ...]:
    return (
        SizeGroup(
            label="60 users",
            shops=30,
            users_per_shop=60,
            alone=around(0.148, 0.016),
            joint=around(0.194, 0.018),
            served_shop=around(0.189, 0.018),
            gain=around(0.041, 0.014),
        ),
        SizeGroup(
            label="2,000 users",
            shops=2,
            users_per_shop=2_000,
            alone=around(0.238, 0.013),
            joint=around(0.182, 0.012),
            served_shop=around(0.239, 0.013),
            gain=around(0.001, 0.006),
        ),
    )


def _shops() -> tuple[ShopPoint, ...]:
    big = [(0.241, 0.180, 0.242), (0.235, 0.184, 0.236)]
    points = [
        ShopPoint(shop=f"shop-{k + 1:02d}", users=2_000, alone=a, joint=j, served_shop=s)
        for k, (a, j, s) in enumerate(big)
    ]
    for k in range(30):
        swing = ((k * 7) % 13 - 6) / 100
        points.append(
            ShopPoint(
                shop=f"shop-{k + 3:02d}",
                users=60,
                alone=0.148 + swing,
                joint=0.194 + swing * 0.8,
                served_shop=0.189 + swing * 0.9,
            )
        )
    return tuple(points)


def _breakdowns() -> tuple[Breakdown, ...]:
    def rows(labels: list[str], values: list[tuple[float, float, float]]) -> list[BreakdownRow]:
        names = ("joint", "shop", "popularity")
        return [
            BreakdownRow(
                label=label,
                users=1_450,
                values={n: around(v, min(0.018, v)) for n, v in zip(names, row, strict=True)},
            )
            for label, row in zip(labels, values, strict=True)
        ]

    activity = rows(
        ["2 to 7 events", "8 to 13", "14 to 21", "22 or more"],
        [(0.17, 0.20, 0.15), (0.185, 0.225, 0.13), (0.19, 0.235, 0.12), (0.199, 0.248, 0.108)],
    )
    popularity = rows(
        ["rarest quarter", "second", "third", "most popular"],
        [(0.0, 0.04, 0.0), (0.06, 0.12, 0.0), (0.14, 0.2, 0.01), (0.41, 0.44, 0.4)],
    )
    return (
        Breakdown(by="activity", rows=tuple(activity)),
        Breakdown(by="popularity", rows=tuple(popularity)),
    )


def _spend() -> tuple[ClientSpend, ...]:
    path = (1.62, 4.71, 7.83, 7.98)
    return tuple(
        ClientSpend(
            client=f"shop-{k + 1:02d}",
            epsilon=tuple(v * (1 if k % 4 else 0.78 + 0.005 * k) for v in path),
        )
        for k in range(32)
    )


def _budgets() -> tuple[ClientBudget, ...]:
    return tuple(
        ClientBudget(
            client=f"shop-{k + 1:02d}",
            cap=9.5,
            delta=7.26e-5,
            filter="GDP filter",
            in_force=7.99,
            spent=0.7,
            reserved=0.05 if k == 3 else 0.0,
            left=0.25 if k == 3 else 0.3,
            left_epsilon=3.21,
            refused=k % 2,
        )
        for k in range(32)
    )


@pytest.fixture
def sample() -> ReportData:
    return make_sample()


@pytest.fixture
def secure() -> ReportData:
    return make_secure()


def make_secure() -> ReportData:
    """The sample as a run of secure sums would have it."""
    sample = make_sample()
    terms = SumTerms(clients=32, threshold=26, colluders=3)
    noise = tuple(
        SumNoise(promised=1.1, in_total=1.31, clients=n, sessions=s, signal_to_noise=r)
        for n, s, r in ((32, 1, 20.0), (31, 2, 3.0), (32, 1, 2.5), (26, 1, None))
    )
    by_shops = tuple(
        ShopsEpsilon(shops=m, epsilon=e, accountant=by)
        for m, e, by in ((1, 7.98, "PLD"), (2, 19.4, "concentrated DP"), (5, None, "PLD"))
    )
    return ReportData(
        **{
            **dict(sample),
            "guarantee": sample.guarantee.model_copy(
                update={"mode": "distributed", "terms": terms}
            ),
            "sums": SecureSums(by_shops=by_shops, noise=noise),
            "config": {**sample.config, "mode": "distributed"},
        }
    )


def make_sample() -> ReportData:
    return ReportData(
        title="Two big shops and thirty small ones",
        created="2026-11-21 03:30 UTC",
        command="hushrec simulate --seed 0 --epsilon 8 --solver subspace",
        config={
            "model": "mf",
            "solver": "subspace",
            "dim": 16,
            "rounds": 3,
            "epsilon": 8.0,
            "delta": 7.26e-5,
            "unit": "user",
            "mode": "local",
            "serving": "shop",
            "engine": "inprocess",
            "weights": "declared population",
            "resume": None,
            "exact_sampler": True,
        },
        data=DataSummary(
            source="built-in marketplace, seed 0",
            users=5_800,
            items=1_000,
            events=97_112,
            first="2025-01-01",
            last="2025-12-31",
            catalogue="product-file",
            partition="32 clients by column shop",
            protocol="Protocol full: the last event of each user is held out and ranked among "
            "all items that the user has not interacted with.",
            evaluated=5_796,
            left_out=4,
            set_aside=0,
        ),
        serving="shop",
        methods=_methods(),
        by_size=_sizes(),
        shops=_shops(),
        guarantee=Guarantee(
            mode="local", unit="user", epsilon=7.98, delta=7.26e-5, accountant="PLD"
        ),
        rounds=("popularity", "sum 1", "sum 2", "metrics"),
        spend=_spend(),
        budgets=_budgets(),
        audit=AuditFigures(
            created="2026-11-21 09:00 UTC",
            verdict="kept",
            findings=0,
            attacks=(
                (
                    "One run with canaries",
                    "ε ≥ 1.15 at δ = 7.3×10⁻⁵, where 3.98 is promised by PLD.",
                ),
            ),
        ),
        traffic=(
            RoundTraffic(up=259_000, down=64_000),
            RoundTraffic(up=4_110_000, down=2_055_000),
            RoundTraffic(up=4_110_000, down=2_055_000),
            RoundTraffic(up=4_200, down=2_060_000),
        ),
        lists=(
            ListQuality(name="joint", coverage=0.62, novelty=9.1, gini=0.71, diversity=0.55),
            ListQuality(name="shop", coverage=0.81, novelty=9.6, gini=0.62, diversity=0.6),
            ListQuality(name="alone", coverage=0.85, novelty=9.7),
            ListQuality(name="popularity", coverage=0.035, novelty=6.8, gini=0.98, diversity=0.83),
        ),
        breakdowns=_breakdowns(),
        private_metrics=(
            PrivateMetric(name="hr@10", released=0.179, noise_std=0.021, exact=0.186),
            PrivateMetric(name="ndcg@10", released=0.104, noise_std=0.021, exact=0.098),
        ),
        phases=(
            Phase(name="marketplace", seconds=0.4),
            Phase(name="planning", seconds=3.1),
            Phase(name="rounds", seconds=9.6),
            Phase(name="refit", seconds=7.9),
            Phase(name="evaluation", seconds=4.2),
        ),
        versions={"hushrec": "0.1.0", "python": "3.11.7", "flwr": "1.41.0", "numpy": "2.4.1"},
        seeds={"marketplace": 0, "initial state": 0, "noise": "secret, from the operating system"},
    )
