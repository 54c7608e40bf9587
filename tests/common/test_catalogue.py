"""The catalogue: order, version, product files, and what is refused."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalogue import Catalogue
from common.errors import Code, DataError

_IDS = st.lists(
    st.text(min_size=1, max_size=4).filter(
        lambda text: text.strip() == text and not any("\ud800" <= c <= "\udfff" for c in text)
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


def test_the_version_is_the_content() -> None:
    one = Catalogue(("a", "b"), {"title": ("A", "B")})
    assert len(one.version) == 64
    assert one.version == Catalogue(("a", "b"), {"title": ("A", "B")}, "derived").version
    others = [
        Catalogue(("b", "a"), {"title": ("A", "B")}),
        Catalogue(("a", "b"), {"title": ("A", "C")}),
        Catalogue(("a", "b"), {"name": ("A", "B")}),
        Catalogue(("a", "b")),
    ]
    assert len({one.version, *(other.version for other in others)}) == 5


def test_the_version_never_changes_between_releases() -> None:
    made = Catalogue(("a", "é"), {"title": ("A", "")})
    assert made.version == "c401cb673d69831973d6262c06b325cbb1e7565598cc117ad6a078650edd33f7"


def test_positions_and_unknown_items() -> None:
    catalogue = Catalogue(("b", "a", "c"))
    assert catalogue.positions(["a", "x", "b", "a", ""]).tolist() == [1, -1, 0, 1, -1]
    assert catalogue.positions([]).tolist() == []
    assert catalogue.positions(pd.Series(["c"], dtype="str")).dtype == "int64"


@settings(max_examples=50, deadline=None)
@given(_IDS)
def test_survives_disk_and_pickling_of_process_pools(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str]
) -> None:
    path = tmp_path_factory.mktemp("c") / "catalogue.json"
    made = Catalogue(tuple(ids), {"title": tuple(reversed(ids))}, "derived")
    made.save(path)
    again = Catalogue.load(path)
    assert again == made
    assert again.source == "derived"
    assert again.version == made.version
    assert pickle.loads(pickle.dumps(made)) == made
    assert made.positions(ids).tolist() == list(range(len(ids)))


def test_derived_is_marked_and_knows_nothing_of_the_order_of_events() -> None:
    events = pd.DataFrame({"item_id": ["10", "9", "b", "9"]})
    titles = pd.DataFrame({"item_id": ["9", "8"], "title": ["nine", "eight"]})
    made = Catalogue.derive(events, titles)
    assert made.source == "derived"
    assert made.item_ids == ("9", "b", "10")
    assert made.metadata["title"] == ("nine", "", "")
    assert Catalogue.derive(events[::-1], titles) == made


def test_reads_a_product_file(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text('sku;Name;genres;price\n7;"A; b";x|y;1.5\n3;B;;\n')
    made = Catalogue.read_product_file(path)
    assert made.source == "product-file"
    assert made.item_ids == ("7", "3")
    assert dict(made.metadata) == {
        "title": ("A; b", "B"),
        "category": ("x|y", ""),
        "price": ("1.5", ""),
    }
    assert made.categories == {"7": "x|y", "3": ""}
    frame = pd.DataFrame({"item_id": [7, 3], "title": ["A", None]})
    frame.to_parquet(tmp_path / "p.parquet")
    parquet = Catalogue.read_product_file(tmp_path / "p.parquet")
    assert parquet.item_ids == ("7", "3")
    assert parquet.metadata["title"] == ("A", "")
    assert parquet.categories is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"item_id\na\nb\na\n", "row 4.*already in row 2"),
        (b"item_id,title\na,x\n,y\n", "row 3.*empty"),
        (b"colour,size\nx,y\n", "no column of item ids"),
        (b"item_id,title\na,x\nb\n", "row 3.*field-count"),
        (b"item_id,title\na,caf\xe9\n", "row 2.*encoding"),
        (b"item_id,title\n", "no items"),
        (b"PAR1 but not really", "Parquet"),
    ],
)
def test_refuses_a_bad_product_file(tmp_path: Path, text: bytes, says: str) -> None:
    path = tmp_path / "products.csv"
    path.write_bytes(text)
    with pytest.raises(DataError, match=says) as caught:
        Catalogue.read_product_file(path)
    assert caught.value.code is Code.CATALOGUE_INVALID


@pytest.mark.parametrize("name", ["item_id", "title"])
def test_refuses_bytes_that_are_no_text(tmp_path: Path, name: str) -> None:
    columns: dict[str, list[str | bytes]] = {"item_id": ["a"], "title": ["A"]}
    pd.DataFrame({**columns, name: [b"caf\xe9"]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(DataError, match="UTF-8") as caught:
        Catalogue.read_product_file(tmp_path / "p.parquet")
    assert caught.value.code is Code.CATALOGUE_INVALID


@pytest.mark.parametrize(
    ("ids", "metadata"),
    [
        ((), {}),
        (("a", "a"), {}),
        (("a", ""), {}),
        ((" a",), {}),
        (("\ud800",), {}),
        ((1,), {}),
        (("a",), {"title": ()}),
    ],
)
def test_refuses_a_list_that_is_no_catalogue(
    ids: tuple[str, ...], metadata: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(DataError) as caught:
        Catalogue(ids, metadata)
    assert caught.value.code is Code.CATALOGUE_INVALID


def test_a_file_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    Catalogue(("a", "b")).save(path)
    content = json.loads(path.read_text())
    content["item_ids"] = ["b", "a"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        Catalogue.load(path)
    assert caught.value.code is Code.CATALOGUE_MISMATCH


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=60) | st.just(b'{"format":"hushrec-catalogue/1"}'))
def test_garbage_is_a_data_error(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    path = tmp_path_factory.mktemp("c") / "catalogue.json"
    path.write_bytes(garbage)
    for read in (Catalogue.load, Catalogue.read_product_file):
        with contextlib.suppress(DataError):
            read(path)


def test_it_grows_at_its_end_and_what_was_there_keeps_its_version() -> None:
    old = Catalogue(("a", "b"), {"title": ("A", "B")})
    more = Catalogue(("c", "d"), {"title": ("C", "D")})
    grown = old.with_more(more)
    assert grown.item_ids == ("a", "b", "c", "d")
    assert grown.metadata["title"] == ("A", "B", "C", "D")
    assert grown.version != old.version
    assert (grown.first(2).version, grown.first(4).version) == (old.version, grown.version)
    assert grown.begins_with(old.version, 2)
    assert grown.begins_with(grown.version, 4)
    for version, count in ((old.version, 3), (old.version, 0), (old.version, 5), ("x", 2)):
        assert not grown.begins_with(version, count)
    changed = Catalogue(("a", "b", "c"), {"title": ("A", "another", "C")})
    assert not changed.begins_with(old.version, 2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (Catalogue(("c", "b"), {"title": ("C", "B")}), "'b'"),
        (Catalogue(("c",), {"title": ("C",), "brand": ("x",)}), "brand, title"),
        (Catalogue(("c",)), "none"),
    ],
)
def test_what_is_known_and_other_columns_are_no_new_items(more: Catalogue, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        Catalogue(("a", "b"), {"title": ("A", "B")}).with_more(more)
    assert caught.value.code is Code.CATALOGUE_INVALID
