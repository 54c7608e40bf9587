"""The specification of a partition, as the command line has it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, DataError
from common.interactions.partition_spec import make_partition, parse_partition, read_sizes
from common.interactions.table import event_table


def _events() -> pd.DataFrame:
    return event_table(map(str, range(10)), ["a", "b"] * 5, [1.0] * 10, range(10))


def test_the_four_kinds(tmp_path: Path) -> None:
    (tmp_path / "sizes").write_text("# shops\nLisbon, 7\nPorto,3 # small\n")
    extra = pd.DataFrame({"Country": ["PT"] * 6 + ["ES"] * 4})
    made = {
        text.split(":")[0]: make_partition(
            parse_partition(text), _events(), extra, clients=3, seed=0
        ).sizes
        for text in ("column:Country", "hash", "dirichlet:0.5", f"sizes:{tmp_path / 'sizes'}")
    }
    assert made["column"] == (4, 6)
    assert made["hash"] == (4, 3, 3)
    assert len(made["dirichlet"]) == 3
    assert made["sizes"] == (7, 3)


def test_sizes_without_names(tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("7\n\n3\n")
    assert read_sizes(path) == ((7, 3), ())


@pytest.mark.parametrize(
    "text",
    [
        *("", "column", "column:", "hash:3", "dirichlet", "dirichlet:", "dirichlet:x"),
        *("dirichlet:-1", "dirichlet:nan", "dirichlet:inf", "sizes", "sizes:", "random"),
    ],
)
def test_what_is_no_partition(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_partition(text)
    assert caught.value.code is Code.DATA_PARTITION


@pytest.mark.parametrize(
    "text", ["x\n", "5\n0\n", "a,5\n6\n", "a,5\na,6\n", "#\n", "5.5\n", "-1\n"]
)
def test_bad_sizes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sizes"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        parse_partition(f"sizes:{path}")
    assert caught.value.code is Code.DATA_PARTITION


def test_a_missing_file_and_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        parse_partition(f"sizes:{tmp_path / 'no'}")
    assert caught.value.code is Code.DATA_NOT_FOUND
    with pytest.raises(DataError, match="there are: City"):
        make_partition(
            parse_partition("column:Country"),
            _events(),
            pd.DataFrame({"City": ["x"] * 10}),
            clients=1,
            seed=0,
        )


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=12))
def test_text_raises_nothing_else(text: str) -> None:
    try:
        parse_partition(text)
    except DataError as error:
        assert error.code in (Code.DATA_PARTITION, Code.DATA_NOT_FOUND)  # noqa: PT017
