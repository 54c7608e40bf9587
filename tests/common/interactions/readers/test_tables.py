"""CSV and Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import DataError
from common.interactions.columns import Columns
from common.interactions.readers import read_events


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "who": [17850, 17851, 17850],
            "item": ["a", "b, c", "é"],
            "stars": [1.5, 2.0, 3.0],
            "when": pd.to_datetime(
                ["2020-01-01 00:00:00", "2020-01-02 03:04:05", "2021-01-01 00:00:00"]
            ),
            "Country": ["PT", "ES", "PT"],
        }
    )
    frame.to_csv(tmp_path / "e.csv", index=False)
    frame.to_parquet(tmp_path / "e.parquet")
    columns = Columns(user_id="who", datetime="when")
    csv, parquet = (
        read_events(tmp_path / name, columns=columns) for name in ("e.csv", "e.parquet")
    )
    assert csv.events.equals(parquet.events)
    assert csv.events["user_id"].tolist() == ["17850", "17851", "17850"]
    assert csv.extra["Country"].tolist() == parquet.extra["Country"].tolist()


def test_rows_of_parquet_are_numbered_from_one(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": ["u", None, "w"], "item": ["a", "b", "c"], "rating": [1, 2, -3]})
    frame.to_parquet(tmp_path / "e.parquet")
    found = read_events(tmp_path / "e.parquet")
    faults = found.rejected.faults
    assert faults[["row", "field", "reason"]].to_numpy().tolist() == [
        [2, "user_id", "missing"],
        [3, "weight", "not-positive"],
    ]
    assert '"item": "b"' in faults["raw"][0]


def test_large_ids_keep_their_last_digit_beside_a_missing_one(tmp_path: Path) -> None:
    table = pa.table({"user": [2**62 + 1, None, 3], "item": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "e.parquet")
    assert read_events(tmp_path / "e.parquet").events["user_id"].tolist() == [str(2**62 + 1), "3"]


def test_types_of_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user": pa.array(["u", "v"]).dictionary_encode(),
            "item": pa.array([1.0, 2.0]),
            "rating": pa.array([1, 2], pa.uint8()),
            "date": pa.array([0, 1], pa.date32()),
        }
    )
    pq.write_table(table, tmp_path / "e.parquet")
    events = read_events(tmp_path / "e.parquet").events
    assert events["user_id"].tolist() == ["u", "v"]
    assert events["item_id"].tolist() == ["1", "2"]
    assert events["datetime"].tolist() == [
        pd.Timestamp("1970-01-01", tz="UTC"),
        pd.Timestamp("1970-01-02", tz="UTC"),
    ]


@pytest.mark.parametrize(
    "columns",
    [
        {"user": pa.array([["a"], ["b"]]), "item": pa.array(["x", "y"])},
        {"user": pa.array([b"\xff", b"b"]), "item": pa.array(["x", "y"])},
        {
            "user": pa.array(["u", "v"]),
            "item": pa.array(["x", "y"]),
            "rating": pa.array([1, 2], pa.timestamp("us")),
        },
        {
            "user": pa.array(["u", "v"]),
            "item": pa.array(["x", "y"]),
            "time": pa.array([1, 2], pa.duration("us")),
        },
    ],
)
def test_refuses_columns_of_the_wrong_kind(tmp_path: Path, columns: dict[str, pa.Array]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with pytest.raises(DataError, match="wrong kind"):
        read_events(tmp_path / "e.parquet")


def test_refuses_a_column_name_that_occurs_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["x"])] * 3, names=["user", "item", "item"])
    pq.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(DataError, match="twice"):
        read_events(tmp_path / "e.parquet")


def test_a_million_rows_with_faults_are_all_named(tmp_path: Path) -> None:
    rows = 1_000_000
    lines = [f"u{n % 5000},i{n % 977},{n % 5},{10**9 + n}" for n in range(rows)]
    path = tmp_path / "e.csv"
    path.write_text("user,item,rating,timestamp\n" + "\n".join(lines) + "\n")
    found = read_events(path)
    assert len(found.events) == rows * 4 // 5
    assert found.rejected.counts == {"not-positive": rows // 5}
    assert found.rejected.faults["row"].head(2).tolist() == [2, 7]
    assert found.rejected.faults["raw"][1] == lines[5]
