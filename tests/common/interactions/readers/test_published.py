"""The published data sets: real counts, where the files are at hand."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from common.arrays import Histories
from common.errors import Code, DataError
from common.interactions.partition import by_column
from common.interactions.readers import EventFile, read_events
from common.interactions.table import check_table, histories

_DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"


def _read(name: str) -> EventFile:
    if not (_DATA / name).exists():
        pytest.skip(f"{name} is not at hand; it may not be redistributed")
    found = read_events(_DATA / name)
    check_table(found.events)
    return found


def _in_order_of_time(found: EventFile) -> Histories:
    """Histories, each user's items at times that never go back, each where it was met first."""
    catalogue = found.catalogue()
    rows = histories(found.events, catalogue)
    first = found.events.groupby(["user_id", "item_id"])["datetime"].min()
    users = pd.Index(rows.user_ids).take(rows.histories.user_of_event)
    items = pd.Index(catalogue.item_ids).take(rows.histories.sequences())
    met = first.reindex(pd.MultiIndex.from_arrays([users, items])).reset_index(drop=True)
    back = met.diff().lt(pd.Timedelta(0)).to_numpy()
    assert not back[users[:-1].insert(0, "") == users].any()
    return rows.histories


def _zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_movielens_100k() -> None:
    found = _read("ml-100k.zip")
    assert (found.format, found.clock, found.rejected.n_rows) == ("ml-100k", "real", 0)
    assert len(found.events) == 100_000
    assert found.events["user_id"].nunique() == 943
    catalogue = found.catalogue()
    assert len(catalogue) == 1682
    assert catalogue.item_ids[:3] == ("1", "2", "3")
    assert catalogue.metadata["title"][0] == "Toy Story (1995)"
    assert catalogue.metadata["category"][0] == "Animation|Children's|Comedy"
    assert any("é" in title for title in catalogue.metadata["title"])
    first = found.events.iloc[0]
    assert (first["user_id"], first["item_id"], first["weight"]) == ("196", "242", 3.0)
    assert first["datetime"] == pd.Timestamp(881250949, unit="s", tz="UTC")
    assert len(_in_order_of_time(found).items) == 100_000


def test_movielens_1m() -> None:
    found = _read("ml-1m.zip")
    assert (found.format, found.rejected.n_rows) == ("ml-1m", 0)
    assert len(found.events) == 1_000_209
    catalogue = found.catalogue()
    in_time = _in_order_of_time(found)
    assert in_time.n_users == 6040
    assert in_time.n_items == len(catalogue) == 3706
    assert len(in_time.items) == 1_000_209
    assert catalogue.metadata["title"][0] == "Toy Story (1995)"
    assert any("é" in title for title in catalogue.metadata["title"])


def test_the_published_split() -> None:
    found = _read("ml-1m-ncf.zip")
    assert (found.format, found.clock, found.rejected.n_rows) == ("ncf", "none", 0)
    assert len(found.events) == 994_169
    split = found.split
    assert split is not None
    assert len(split.user_ids) == len(split.item_ids) == 6040
    assert split.negatives.shape == (6040, 99)
    assert split.own_negatives == 156
    assert (split.user_ids[0], split.item_ids[0], split.negatives[0, 0]) == ("0", "25", "1064")
    catalogue = found.catalogue()
    assert len(catalogue) == 3706
    assert catalogue.item_ids[25] == "25"
    assert catalogue.metadata["movielens_id"][0] == "1193"
    users = histories(found.events, catalogue).user_ids
    heldout, negatives = split.positions(catalogue, [*users, "nobody"])
    assert heldout.shape == (6041,)
    assert negatives.shape == (6041, 99)
    assert heldout[-1] == -1
    assert (negatives[-1] == -1).all()
    assert heldout[:-1].min() >= 0
    assert heldout[0] == 25
    assert int((negatives[:-1] == heldout[:-1, None]).sum()) == 156


def test_online_retail() -> None:
    found = _read("online-retail.parquet")
    assert (found.format, found.clock) == ("online-retail", "real")
    assert found.rejected.total_rows == 397_884
    assert found.rejected.counts == {"duplicate": 10_121}
    assert len(found.events) == 397_884 - 10_121
    assert found.events["user_id"].nunique() == 4338
    assert found.extra["Country"].nunique() == 37
    catalogue = found.catalogue()
    assert len(catalogue) == 3665
    assert "WHITE HANGING HEART T-LIGHT HOLDER" in catalogue.metadata["title"]
    regions = by_column(found.events, found.extra["Country"], min_users=50)
    assert dict(zip(regions.names, regions.sizes, strict=True)) == {
        "France": 87,
        "Germany": 94,
        "United Kingdom": 3920,
        "other": 237,
    }
    assert regions.notes["users_with_several_values"] == 8
    assert _in_order_of_time(found).n_users == 4338


def test_amazon_beauty() -> None:
    found = _read("amazon-beauty-5core.txt")
    assert (found.format, found.clock, found.rejected.n_rows) == ("sequences", "order", 0)
    assert len(found.events) == 198_502
    catalogue = found.catalogue()
    assert len(catalogue) == 12_101
    assert catalogue.metadata["attributes"][0] == "173|1|162|171"
    assert all(catalogue.metadata["attributes"])
    compressed = histories(found.events, catalogue)
    assert compressed.histories.n_users == 22_363
    assert _in_order_of_time(found).n_items == 12_101
    row = compressed.user_ids.index("2")
    in_time = compressed.histories.sequence_of(row)
    assert [catalogue.item_ids[item] for item in in_time] == [*list("6789"), "10", "4", "11"]


def test_retail_csv_of_the_publisher(tmp_path: Path) -> None:
    path = tmp_path / "Online Retail.csv"
    path.write_bytes(
        b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\r\n"
        b"1,85123A,WHITE HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom\r\n"
        b"C2,85123A,WHITE HEART,-6,12/2/2010 8:26,2.55,17850,United Kingdom\r\n"
        b'3,71053,"LANTERN, WHITE",6,12/13/2010 8:26,3.39,,France\r\n'
        b"4,22130,PARTY CONE \xa3,6,12/13/2010 8:26,3.39,1,France\r\n"
    )
    found = read_events(path)
    assert found.format == "online-retail"
    assert found.events["datetime"].tolist() == [pd.Timestamp("2010-12-01T08:26:00Z")]
    assert found.rejected.faults[["row", "reason"]].to_numpy().tolist() == [
        [3, "not-positive"],
        [4, "missing"],
        [5, "encoding"],
    ]
    assert found.extra["Country"].tolist() == ["United Kingdom"]


def test_recbole_names_and_types(tmp_path: Path) -> None:
    path = tmp_path / "x.inter"
    path.write_bytes(
        b"user_id:token\titem_id:token\trating:float\ttimestamp:float\ttags:token_seq\n"
        b'u\ta\t3\t881250949\tx "y\nv\tb\t4\t0\t\n'
    )
    found = read_events(path)
    assert found.events["weight"].tolist() == [3.0, 4.0]
    assert found.extra["tags"].tolist() == ['x "y', ""]


def test_a_user_without_items_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("u a b\nv\n\nw a\n")
    found = read_events(path)
    assert len(found.events) == 3
    assert found.rejected.faults.to_dict("records") == [
        {"row": 2, "field": "item_id", "reason": "missing", "value": "", "raw": "v"}
    ]


_NCF = {
    "x.train.rating": b"0\t1\t5\t0\n1\t1\t5\t0\n",
    "x.test.rating": b"0\t2\t5\t9\n1\t3\t5\t9\n",
    "x.test.negative": b"(0,2)\t1\t3\n(1,3)\t3\t4\n",
}


@pytest.mark.parametrize(
    ("member", "content", "says"),
    [
        ("x.test.negative", b"(0,2)\t1\t3\n", "row 1: 1 lines for 2"),
        ("x.test.negative", b"(0,2)\t1\t3\n(1,2)\t3\t4\n", "row 2: starts with"),
        ("x.test.negative", b"(0,2)\t1\t3\n(1,3)\t3\n", "row 2: 1 negatives"),
        ("x.test.negative", b"(0,2)\t1\t3\n(1,3)\t\xff\n", "row 2: byte 0xff"),
        ("x.test.rating", b"0\t2\t5\t9\n1\t3\t5\n", "row 2: 3 fields"),
        ("x.test.rating", b"0\t2\t5\t9\n1\t3\tx\t9\n", "row 2: the rating"),
        ("x.test.rating", b"0\t2\t5\t9\n0\t3\t5\t9\n", "two held-out"),
    ],
)
def test_a_split_that_is_not_the_published_one(
    tmp_path: Path, member: str, content: bytes, says: str
) -> None:
    path = tmp_path / "ncf.zip"
    path.write_bytes(_zipped({**_NCF, member: content}))
    with pytest.raises(DataError, match=says) as caught:
        read_events(path)
    assert caught.value.code is Code.DATA_FORMAT


def test_a_split_against_another_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "ncf.zip"
    path.write_bytes(_zipped(_NCF))
    found = read_events(path)
    assert found.split is not None
    assert found.split.own_negatives == 1
    smaller = type(found.catalogue())(("1", "2"))
    with pytest.raises(DataError) as caught:
        found.split.positions(smaller, ["0"])
    assert caught.value.code is Code.CATALOGUE_MISMATCH
