"""What a scenario trains on has each shopper's order, under every way of splitting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.arrays import Histories
from simulations.dataset import Dataset, load_dataset
from simulations.scenario import Scenario

_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LINES = {
    "u1": ["i7", "i2", "i9", "i1"],
    "u2": ["i3", "i9", "i2"],
    "u3": ["i1", "i7", "i8", "i2", "i3"],
}


def named(dataset: Dataset, found: Histories) -> dict[str, list[str]]:
    items = dataset.catalogue.item_ids
    return {
        user: [items[item] for item in found.sequence_of(row).tolist()]
        for row, user in enumerate(dataset.split.users)
    }


@pytest.mark.parametrize("protocol", ["full", "ncf"])
@pytest.mark.parametrize("validation", [False, True])
def test_a_file_of_sequences_is_trained_on_in_its_order(
    tmp_path: Path, protocol: Any, validation: bool
) -> None:
    path = tmp_path / "shop.txt"
    path.write_text("".join(f"{user} {' '.join(items)}\n" for user, items in LINES.items()))
    scenario = Scenario(data=str(path), protocol=protocol, validation=validation, clients=1)
    dataset = load_dataset(scenario)
    left = -2 if validation else -1
    own = named(dataset, dataset.split.histories)
    assert own == {user: items[:left] for user, items in LINES.items()}
    held = named(dataset, dataset.split.relevant)
    assert held == {user: [items[left]] for user, items in LINES.items()}


def test_who_reads_about_a_sequential_model_without_times_is_warned(tmp_path: Path) -> None:
    timed, untimed = tmp_path / "timed.csv", tmp_path / "untimed.csv"
    rows = [(f"u{user}", f"i{item}", item) for user in range(3) for item in range(4)]
    for path, step in ((timed, 60), (untimed, 0)):
        lines = [f"{user},{item},{10**9 + step * place}" for user, item, place in rows]
        path.write_text("user_id,item_id,timestamp\n" + "\n".join(lines) + "\n")
    for path, solver, expected in (
        (timed, "sequential", 0),
        (untimed, "subspace", 0),
        (untimed, "sequential", 1),
        (untimed, "transitions", 1),
    ):
        dataset = load_dataset(Scenario(data=str(path), solver=solver, clients=1))
        assert sum("sequential" in warning for warning in dataset.warnings) == expected


def test_amazon_beauty_is_a_scenario(tmp_path: Path) -> None:
    path = _DATA / "amazon-beauty-5core.txt"
    if not path.exists():
        pytest.skip(f"{path.name} is not at hand; it may not be redistributed")
    toml = tmp_path / "beauty.toml"
    toml.write_text(f'data = "{path}"\nclients = 4\n')
    dataset = load_dataset(Scenario.load_toml(toml))
    assert (dataset.name, len(dataset.catalogue)) == (path.name, 12_101)
    assert dataset.rejected is not None
    assert dataset.rejected.n_rows == 0
    lines = {user: items for user, *items in map(str.split, path.read_text().splitlines())}
    assert named(dataset, dataset.split.histories) == {u: one[:-1] for u, one in lines.items()}
    assert named(dataset, dataset.split.relevant) == {u: one[-1:] for u, one in lines.items()}
