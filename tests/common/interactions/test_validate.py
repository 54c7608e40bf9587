"""Checking: every row is accepted or named, with row, field, reason and value."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalogue import Catalogue
from common.interactions.columns import Columns
from common.interactions.readers.base import Source
from common.interactions.readers.tables import read_csv
from common.interactions.table import check_table
from common.interactions.validate import Checked, validate

_NOW = datetime(2020, 1, 1, tzinfo=UTC)
_FIELD = st.sampled_from(["u", "v", "", " ", "7", "0", "-1", "nan", "inf", "x", "1e12", "é"])


def _check(text: str, catalogue: Catalogue | None = None) -> Checked:
    raw = read_csv(Source(Path("f.csv"), text.encode()), Columns())
    return validate(raw, catalogue=catalogue, now=_NOW)


@pytest.mark.parametrize(
    ("line", "field", "reason", "value"),
    [
        (",a,1,5", "user_id", "missing", ""),
        ("u, ,1,5", "item_id", "missing", " "),
        ("u,a,,5", "weight", "missing", ""),
        ("u,a,five,5", "weight", "not-a-number", "five"),
        ("u,a,nan,5", "weight", "not-finite", "nan"),
        ("u,a,-inf,5", "weight", "not-finite", "-inf"),
        ("u,a,1e999,5", "weight", "not-finite", "1e999"),
        ("u,a,0,5", "weight", "not-positive", "0"),
        ("u,a,-2,5", "weight", "not-positive", "-2"),
        ("u,a,1,", "datetime", "missing", ""),
        ("u,a,1,soon", "datetime", "no-time", "soon"),
        ("u,a,1,-5", "datetime", "before-1970", "-5"),
        ("u,a,1,2020-01-03", "datetime", "in-the-future", "2020-01-03"),
        ("u,z,1,5", "item_id", "unknown-item", "z"),
        ("w,a,1,5", "datetime", "duplicate", "1970-01-01 00:00:05+00:00"),
        ("u,a,1", "", "field-count", "3 fields, expected 4"),
    ],
)
def test_names_what_is_wrong(line: str, field: str, reason: str, value: str) -> None:
    text = f"user,item,weight,time\nw,a,1,5\n{line}\nw,b,2,6\n"
    checked = _check(text, Catalogue(("a", "b")))
    assert len(checked.events) == 2
    assert checked.rejected.counts == {reason: 1}
    (fault,) = checked.rejected.faults.to_dict("records")
    assert fault == {"row": 3, "field": field, "reason": reason, "value": value, "raw": line}


def test_a_row_with_several_faults_is_named_with_each() -> None:
    checked = _check("user,item,weight,time\n,a,0,x\nu,a,1,1\n")
    assert checked.rejected.n_rows == 1
    assert checked.rejected.total_rows == 2
    assert set(checked.rejected.faults["field"]) == {"user_id", "weight", "datetime"}
    assert checked.rejected.summary().startswith("1 of 2 rows set aside: ")


def test_a_duplicate_is_one_of_an_accepted_row_only() -> None:
    checked = _check("user,item,weight,time\nu,a,0,1\nu,a,2,1\nu,a,3,1\nu,a,3,2\n")
    assert checked.events["weight"].tolist() == [2, 3]
    assert checked.rejected.faults["row"].tolist() == [2, 4]
    assert checked.rejected.counts == {"not-positive": 1, "duplicate": 1}


def test_without_weight_and_time() -> None:
    checked = _check("user,item,country\nu,a,PT\nv,a,ES\nu,a,PT\n")
    check_table(checked.events)
    assert checked.clock == "order"
    assert checked.events["weight"].tolist() == [1, 1, 1]
    assert checked.events["datetime"].is_monotonic_increasing
    assert checked.extra["country"].tolist() == ["PT", "ES", "PT"]


def test_equal_times_are_no_clock() -> None:
    assert _check("user,item,time\nu,a,0\nu,b,0\n").clock == "none"
    assert _check("user,item,time\nu,a,0\nu,b,1\n").clock == "real"


def test_is_written_as_a_table(tmp_path: Path) -> None:
    rejected = _check('user,item,time\n"u,1",a,x\nu,a,1\n').rejected
    rejected.write(tmp_path / "rejected.csv")
    again = pd.read_csv(tmp_path / "rejected.csv", dtype=str, keep_default_na=False)
    assert again.to_dict("records") == [
        {"row": "2", "field": "datetime", "reason": "no-time", "value": "x", "raw": '"u,1",a,x'}
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(_FIELD, min_size=3, max_size=5), min_size=1, max_size=12))
def test_nothing_disappears(rows: list[list[str]]) -> None:
    lines = [",".join(row) for row in rows]
    checked = _check("user,item,weight,time\n" + "\n".join(lines) + "\n", Catalogue(("u", "v")))
    check_table(checked.events)
    assert len(checked.extra) == len(checked.events)
    assert len(checked.events) + checked.rejected.n_rows == len(rows)
    assert checked.rejected.total_rows == len(rows)
    assert checked.rejected.faults["row"].nunique() == checked.rejected.n_rows
    for fault in checked.rejected.faults.itertuples():
        assert fault.raw == lines[fault.row - 2]
