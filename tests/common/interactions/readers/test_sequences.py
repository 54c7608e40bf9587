"""Labels of items beside a file of sequences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import Code, DataError
from common.features.hashed import HashedEncoder
from common.interactions.readers import read_events


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "shop-5core.txt"
    path.write_text("1 10 11 12\n2 11 10\n")
    return path


def _beside(log: Path, content: object) -> None:
    log.with_suffix(".attributes.json").write_text(json.dumps(content))


def test_labels_reach_the_catalogue_and_the_features(log: Path) -> None:
    _beside(log, {"10": [1, 2], "11": ["red|blue", 2], "99": [7]})
    catalogue = read_events(log).catalogue()
    assert catalogue.item_ids == ("10", "11", "12")
    assert dict(catalogue.metadata) == {"attributes": ("1|2", "red blue|2", "")}
    found = HashedEncoder().encode(catalogue)
    assert found.missing == ("12",)
    assert found.values[0] @ found.values[1] > 0.2


def test_without_the_file_nothing_is_known(log: Path) -> None:
    found = read_events(log)
    assert found.items is None
    assert dict(found.catalogue().metadata) == {}


@pytest.mark.parametrize(
    "content", [["10"], {"10": 5}, {"10": [1.5]}, {"10": [None]}, {"10": [True]}, {"10": [[1]]}]
)
def test_a_file_of_something_else_is_refused(log: Path, content: object) -> None:
    _beside(log, content)
    with pytest.raises(DataError) as caught:
        read_events(log)
    assert caught.value.code is Code.DATA_FORMAT
    assert "shop-5core.attributes.json" in caught.value.where


def test_a_file_that_is_no_json_is_refused(log: Path) -> None:
    log.with_suffix(".attributes.json").write_text("{")
    with pytest.raises(DataError):
        read_events(log)
