"""Which column is which."""

from __future__ import annotations

import pytest

from common.errors import Code, ConfigError, DataError
from common.interactions.columns import Columns, match_columns


def test_usual_names_in_any_writing() -> None:
    found = match_columns(["Customer ID", "stock-code", "QUANTITY", "InvoiceDate"], Columns(), "f")
    assert found == {
        "user_id": "Customer ID",
        "item_id": "stock-code",
        "weight": "QUANTITY",
        "datetime": "InvoiceDate",
    }


def test_the_first_usual_name_wins_and_a_given_name_over_all() -> None:
    names = ["user", "item", "quantity", "rating"]
    assert match_columns(names, Columns(), "f")["weight"] == "rating"
    assert match_columns(names, Columns(weight="quantity"), "f")["weight"] == "quantity"


@pytest.mark.parametrize(
    ("names", "columns", "says"),
    [
        (["1", "2", "3"], Columns(), "user_id: no such column"),
        (["user", "colour"], Columns(), "item_id: no such column"),
        (["user", "item"], Columns(weight="grams"), "no column 'grams'"),
        (["user", "item"], Columns(weight="item"), "two fields"),
    ],
)
def test_says_what_is_missing(names: list[str], columns: Columns, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        match_columns(names, columns, "f")
    assert caught.value.code is Code.DATA_FORMAT


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigError):
        Columns.load({"user": "u"})
