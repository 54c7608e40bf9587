from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.errors import Code, DataError
from common.evaluation import groups

PER_USER = pd.DataFrame(
    {
        "user_id": [f"u{n}" for n in range(9)],
        "activity": [1, 2, 3, 4, 5, 6, 7, 8, 9],
        "popularity": [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 1.0, 9.0],
        "hr@10": [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        "ndcg@10": np.linspace(0, 1, 9),
    }
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def means(table: pd.DataFrame, metric: str) -> dict[str, float]:
    rows = table[table["metric"] == metric]
    return dict(zip(rows["group"], rows["mean"], strict=True))


def test_intervals_hold_every_metric() -> None:
    table = groups.intervals(PER_USER, rng())
    assert set(table) == {"hr@10", "ndcg@10"}
    assert table["hr@10"].mean == pytest.approx(6 / 9)
    assert table["hr@10"].low < 6 / 9 < table["hr@10"].high


def test_tertiles_of_activity() -> None:
    table = groups.by_activity(PER_USER, rng())
    assert means(table, "hr@10") == pytest.approx({"low": 1 / 3, "middle": 2 / 3, "high": 1.0})
    assert table["users"].tolist() == [3] * 6
    first = table.iloc[0]
    assert (first["least"], first["most"]) == (1, 3)


def test_equal_values_stay_together() -> None:
    table = groups.by_popularity(PER_USER, rng())
    sizes = table.drop_duplicates("group").set_index("group")["users"].to_dict()
    assert sizes == {"low": 8, "high": 1}


CLIENTS = {f"u{n}": "big" if n < 6 else f"shop{n}" for n in range(9)} | {
    f"other{n}": "big" for n in range(30)
}


def test_by_client_counts_all_its_users() -> None:
    table = groups.by_client(PER_USER, CLIENTS, rng())
    assert means(table, "hr@10")["big"] == pytest.approx(0.5)
    sizes = table.drop_duplicates("group").set_index("group")["least"].to_dict()
    assert sizes == {"big": 36, "shop6": 1, "shop7": 1, "shop8": 1}


def test_by_shop_size_joins_shops_of_like_size() -> None:
    table = groups.by_shop_size(PER_USER, CLIENTS, rng())
    assert means(table, "hr@10") == pytest.approx({"1": 1.0, "36": 0.5})
    shops = table.drop_duplicates("group").set_index("group")["shops"].to_dict()
    assert shops == {"1": 3, "36": 1}


def test_a_user_without_a_client_is_named() -> None:
    with pytest.raises(DataError, match="u8") as error:
        groups.by_client(PER_USER, {k: v for k, v in CLIENTS.items() if k != "u8"}, rng())
    assert error.value.code == Code.DATA_PARTITION


def test_paired_differences_are_narrower_than_two_intervals() -> None:
    noise = np.random.default_rng(1).random(400)
    left = pd.DataFrame({"user_id": range(400), "ndcg@10": noise + 0.01})
    right = left.assign(**{"ndcg@10": noise}).sample(frac=1.0, random_state=0)
    difference = groups.paired_difference(left, right, "ndcg@10", rng())
    assert difference.mean == pytest.approx(0.01)
    assert difference.high - difference.low < 1e-9
