"""Generated data for shops: what the real readers take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.catalogue import Catalogue
from common.errors import ConfigError
from common.interactions.readers import read_events
from simulations.deployment.market import generate, shop_names
from tests.client.enroll.shops import hushrec, refusal


def test_every_shop_has_events_of_its_own_shoppers_about_items_of_the_catalogue(
    tmp_path: Path,
) -> None:
    made = generate(tmp_path / "data", shops=3, users=40, items=30, seed=4)
    items = Catalogue.load(made.catalogue)
    assert items.source == "product-file"
    assert len(items) == 30
    users: set[str] = set()
    for name, path in made.events.items():
        rows = read_events(path, catalogue=items)
        assert rows.rejected.n_rows == 0
        assert rows.clock != "none"
        found = set(rows.events["user_id"])
        assert len(found) == 40, name
        assert not users & found
        users |= found


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    for folder, seed in (("one", 1), ("again", 1), ("other", 2)):
        generate(tmp_path / folder, shops=2, users=20, items=12, seed=seed)
    one, again, other = (
        [path.read_bytes() for path in sorted((tmp_path / folder).iterdir())]
        for folder in ("one", "again", "other")
    )
    assert one == again
    assert one != other


def test_nothing_is_replaced(tmp_path: Path) -> None:
    generate(tmp_path / "data", shops=1, users=5, items=4)
    with pytest.raises(ConfigError, match="already"):
        generate(tmp_path / "data", shops=1, users=5, items=4)


def test_names_are_distinct_however_many_shops_there_are() -> None:
    assert shop_names(3) == ("north", "south", "east")
    assert len(set(shop_names(50))) == 50


def test_the_command_says_where_the_files_are(tmp_path: Path) -> None:
    words = ("generate", tmp_path / "data", "--shops", 2, "--users", 10, "--items", 8)
    done = hushrec(*words, "--format", "json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert Path(said["catalogue"]).exists()
    assert list(said["events"]) == ["north", "south"]
    assert refusal(*words) == "enroll-exists"
    more = hushrec("generate", tmp_path / "more", "--shops", 1, "--users", 5, "--items", 4)
    assert "north.csv" in more.stdout
