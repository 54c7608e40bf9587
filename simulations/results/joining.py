"""What joining is worth: one central release, then shops of several sizes, or regions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from common.interactions.partition import Partition, by_hash
from simulations.dataset import Dataset, load_dataset
from simulations.gains import Gain, gain_by_shop_size, gain_of_all
from simulations.measure import Measured, measure, shops_of
from simulations.results.pages import mean_and_spread, write_page
from simulations.results.training import Trained, train
from simulations.scenario import Scenario

__all__ = ["gain_figures", "measured_by_shop", "run_demo", "run_regions", "run_shops"]

EPSILONS: Final = (None, 8.0, 4.0)
_NOTES: Final = """
HR@10. The shared model is one release with central noise (one client holds everybody), as
secure sums would give it; then users are dealt out to shops. `alone`: the shop's own exact
model, releasing nothing. `joint`: the shared model. `shop`: refitted on the shop's own data,
chosen on its own validation events with `alone` among the candidates. `shop - alone` with a
95% bootstrap interval over users. ε is user-level (add/remove one user), by PLD, in mode
`local` with the one client of that release, at δ = users^-1.1: 6040 for MovieLens-1M, the
declared users for Online Retail. Exact figures of a simulation, not a private release.
"""

_DEMO_NOTES: Final = """
HR@10 by protocol `full`, solver `subspace` in mode `local`: every shop adds all of its noise,
the server weighs by declared population. The seed makes another marketplace each time. ε is
user-level (add/remove one user), by PLD, at δ = declared population^-1.1, at each shop.
`shop - alone` with a 95% bootstrap interval over users. Synthetic data; exact figures of a
simulation, not a private release.
"""


def run_shops(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]) -> None:
    """MovieLens-1M in 8, 32 and 100 shops; writes `ml1m-shops`."""
    source = {"data": str(data / "ml-1m-ncf.zip"), "protocol": "ncf"}
    rows = []
    for epsilon, seed, trained in _central(source, seeds, 6040**-1.1):
        for clients in (8, 32, 100):
            partition = by_hash(_events(trained.dataset), clients)
            measured = measured_by_shop(trained, partition, seed)
            line = {"shops": clients, "users per shop": 6040 // clients}
            gain = gain_of_all(measured, np.random.default_rng(0))
            rows.append({**line, "epsilon": epsilon, "seed": seed, **gain_figures(gain)})
            tell(str(rows[-1]))
    table = mean_and_spread(rows, ["shops", "users per shop", "epsilon"])
    write_page(
        out,
        "ml1m-shops",
        title="MovieLens-1M: what joining is worth by size of shop",
        command=_command("shops", seeds),
        notes=_NOTES,
        rows=rows,
        tables={"Means over seeds": table},
    )


def run_regions(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]) -> None:
    """Online Retail by country, protocol `full`; writes `online-retail`."""
    source = {"data": str(data / "online-retail.parquet"), "protocol": "full"}
    rows: list[dict[str, Any]] = []
    for epsilon, seed, trained in _central(source, seeds, None):
        by_country = Scenario.load({**source, "partition": "column:Country", "seed": seed})
        partition = _country(by_country, trained.dataset)
        measured = measured_by_shop(trained, partition, seed)
        rng = np.random.default_rng(0)
        for gain in (gain_of_all(measured, rng), *gain_by_shop_size(measured, rng)):
            line = {"users per region": gain.label, "epsilon": epsilon, "seed": seed}
            rows.append({**line, **gain_figures(gain)})
            tell(str(rows[-1]))
    table = mean_and_spread(rows, ["users per region", "epsilon"])
    write_page(
        out,
        "online-retail",
        title="Online Retail by country: what joining is worth",
        command=_command("retail", seeds),
        notes=_NOTES,
        rows=rows,
        tables={"Means over seeds": table},
    )


def run_demo(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]) -> None:
    """The demo's marketplace, one real federation in `local` mode; writes `demo`."""
    del data
    rows: list[dict[str, Any]] = []
    for epsilon in (8.0, 4.0):
        for seed in seeds:
            trained = train(Scenario(epsilon=epsilon, seed=seed))
            partition = trained.dataset.partition
            measured = measured_by_shop(trained, partition, seed, central=False)
            for gain in gain_by_shop_size(measured, np.random.default_rng(0)):
                line = {"users per shop": gain.label, "epsilon": f"{epsilon:g}", "seed": seed}
                rows.append({**line, **gain_figures(gain)})
                tell(str(rows[-1]))
    table = mean_and_spread(rows, ["users per shop", "epsilon"])
    write_page(
        out,
        "demo",
        title="The demo's marketplace: two shops of 2,000 users, thirty of 60",
        command=_command("demo", seeds),
        notes=_DEMO_NOTES,
        rows=rows,
        tables={"Means over seeds": table},
    )


def _central(
    source: dict[str, str], seeds: Sequence[int], delta: float | None
) -> Iterable[tuple[str, int, Trained]]:
    for epsilon in EPSILONS:
        for seed in seeds:
            private: dict[str, Any] = (
                {"mode": "none", "no_privacy": True}
                if epsilon is None
                else {"epsilon": epsilon, "delta": delta}
            )
            options = {**source, **private, "partition": "hash", "clients": 1, "seed": seed}
            scenario = Scenario.load(options)
            yield "none" if epsilon is None else f"{epsilon:g}", seed, train(scenario)


def _events(dataset: Dataset) -> pd.DataFrame:
    return dataset.split.train[["user_id", "item_id", "weight", "datetime"]]


def _country(scenario: Scenario, central: Dataset) -> Partition:
    found = load_dataset(scenario)
    if tuple(found.split.users) != tuple(central.split.users):
        raise RuntimeError("the split must not depend on the partition")
    return found.partition


def measured_by_shop(
    trained: Trained, partition: Partition, seed: int, *, central: bool = True
) -> Measured:
    """Every way of recommending, with the users dealt out as `partition` says.

    Args:
        trained: the shared model, and what it was trained on.
        partition: who is a shop.
        seed: of choices within shops and of random scores.
        central: every user weighs the same in the shared model.
    """
    return measure(
        trained.model,
        trained.dataset.split,
        shops_of(trained.dataset.split, partition),
        seed=seed,
        noised_popularity=trained.noised_popularity,
        central=central,
        progress=lambda _: None,
    )


def gain_figures(gain: Gain) -> dict[str, Any]:
    """HR@10 of every method, and what `shop` serving gains over staying alone."""
    found: dict[str, Any] = {"users": gain.users}
    for name, interval in gain.means.items():
        found[f"{name} hr@10"] = round(interval.mean, 5)
    paired = gain.gains["shop"]
    found["shop - alone"] = round(paired.mean, 5)
    found["low"], found["high"] = round(paired.low, 5), round(paired.high, 5)
    return found


def _command(name: str, seeds: Sequence[int]) -> str:
    return f"python -m simulations.results {name} --seeds {' '.join(map(str, seeds))}"
