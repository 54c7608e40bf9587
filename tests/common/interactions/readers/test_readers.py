"""The registry: formats are recognised, files that are none are refused, garbage is harmless."""

from __future__ import annotations

import contextlib
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalogue import Catalogue
from common.errors import Code, DataError
from common.interactions.columns import Columns
from common.interactions.readers import READERS, read_events
from common.interactions.table import check_table

_NOW = datetime(2025, 1, 1, tzinfo=UTC)
_CSV = b"user_id,item_id,weight,datetime\nu,a,1,5\nu,b,1,6\n"


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip with these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def parquet(item: bytes = b"b") -> bytes:
    """A small Parquet file of events; the bytes of one item's id are not checked."""
    items = pa.array([b"a", item]).view(pa.string())
    table = pa.table({"user": [1, 2], "item": items, "rating": [1.0, 2.0], "time": [5, 6]})
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


_NOT_UTF8 = parquet(item=b"caf\xe9")

_FILES = {
    "csv": ("e.csv", _CSV),
    "parquet": ("e.parquet", parquet()),
    "recbole": ("e.inter", b"user_id:token\titem_id:token\ttimestamp:float\nu\ta\t5\n"),
    "sequences": ("e.txt", b"u a b\nv b c\n"),
    "online-retail": (
        "o.csv",
        b"StockCode,Quantity,InvoiceDate,CustomerID,Country\na,6,12/1/2010 8:26,17850,France\n",
    ),
    "ml-100k": ("a.zip", zipped({"ml-100k/u.data": b"1\t2\t3\t881250949\n"})),
    "ml-1m": ("b.zip", zipped({"ml-1m/ratings.dat": b"1::2::3::956703941\n"})),
    "ncf": (
        "c.zip",
        zipped(
            {
                "x.train.rating": b"0\t1\t5\t0\n",
                "x.test.rating": b"0\t2\t5\t9\n",
                "x.test.negative": b"(0,2)\t1\t3\n",
            }
        ),
    ),
}


def test_every_reader_has_a_sample_here() -> None:
    assert sorted(reader.name for reader in READERS) == sorted(_FILES)


@pytest.mark.parametrize("name", sorted(_FILES))
def test_recognises_and_reads(tmp_path: Path, name: str) -> None:
    path = tmp_path / _FILES[name][0]
    path.write_bytes(_FILES[name][1])
    found = read_events(path, now=_NOW)
    assert found.format == name
    check_table(found.events)
    assert len(found.extra) == len(found.events)
    assert found.rejected.n_rows == 0
    assert found.catalogue().source == "derived"
    assert read_events(str(path), format=name, now=_NOW).events.equals(found.events)


@pytest.mark.parametrize("name", ["csv", "parquet", "ml-1m"])
def test_content_counts_more_than_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "events"
    path.write_bytes(_FILES[name][1])
    assert read_events(path, now=_NOW).format == name


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("e.csv", None, Code.DATA_NOT_FOUND, "cannot be read"),
        ("e.csv", b"", Code.DATA_EMPTY, "empty"),
        ("e.csv", _CSV[:32], Code.DATA_EMPTY, "no usable row"),
        ("e.csv", b"1,2,3\n4,5,6\n", Code.DATA_FORMAT, "header"),
        ("e.csv", _CSV.decode().encode("utf-16"), Code.DATA_FORMAT, "UTF-8"),
        ("e.csv", b"user,item,time\nu,a,-1\nu,b,-1\n", Code.DATA_EMPTY, "before-1970 2.*row 2"),
        ("e.zip", _FILES["ml-1m"][1][:60], Code.DATA_FORMAT, "truncated"),
        ("e.zip", _CSV, Code.DATA_FORMAT, "truncated"),
        ("e.zip", zipped({"notes": b"x"}), Code.DATA_FORMAT, "notes"),
        ("e.zip", zipped({"u.data": b""}), Code.DATA_EMPTY, "u.data"),
        ("e.parquet", parquet()[:-9], Code.DATA_FORMAT, "Parquet"),
        ("e.parquet", _CSV, Code.DATA_FORMAT, "Parquet"),
        ("e.parquet", _NOT_UTF8, Code.DATA_FORMAT, "UTF"),
        ("e.inter", b"user\titem\nu\ta\n", Code.DATA_FORMAT, "name:type"),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else None,  # a zip holds the time
)
def test_says_what_is_wrong_with_a_file(
    tmp_path: Path, name: str, content: bytes | None, code: Code, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_events(path, now=_NOW)
    assert caught.value.code is code
    assert name in caught.value.where
    assert caught.value.remedy


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(_CSV)
    with pytest.raises(DataError, match="Formats: ml-100k"):
        read_events(path, format="xml")


def test_a_catalogue_sets_unknown_items_aside(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(_CSV)
    found = read_events(path, catalogue=Catalogue(("a",)), now=_NOW)
    assert found.events["item_id"].tolist() == ["a"]
    assert found.rejected.counts == {"unknown-item": 1}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["x", "x.csv", "x.parquet", "x.zip", "x.inter", "x.txt"]),
    st.sampled_from([None, *(reader.name for reader in READERS)]),
    st.binary(max_size=80)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
    | st.text(alphabet='user,item\t :"\n01.e-', max_size=60).map(
        lambda text: b"user,item,time\n" + text.encode()
    ),
)
def test_garbage_raises_nothing_but_data_errors(
    tmp_path_factory: pytest.TempPathFactory, name: str, format_name: str | None, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        check_table(read_events(path, format=format_name, now=_NOW).events)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_raise_nothing_but_data_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name, content = _FILES[data.draw(st.sampled_from(sorted(_FILES)))]
    damaged = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(bytes(damaged[:cut]))
    with contextlib.suppress(DataError):
        check_table(read_events(path, columns=Columns(), now=_NOW).events)
