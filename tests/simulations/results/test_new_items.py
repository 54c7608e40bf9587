"""The study of new items on a small log: every scorer has its figures, every run is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simulations.results import new_items


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Two kinds of users, each with items of their own kind, and labels that tell the kind."""
    folder = tmp_path_factory.mktemp("new-items")
    rng = np.random.default_rng(0)
    lines = []
    for user in range(150):
        kind = user % 2
        items = 2 * rng.choice(60, size=12, replace=False) + kind + 1
        lines.append(" ".join(map(str, [user, *items])))
    (folder / "shop.txt").write_text("\n".join(lines) + "\n")
    labels = {str(item): [item % 2, 10 + item % 5] for item in range(1, 121)}
    (folder / "shop.attributes.json").write_text(json.dumps(labels))
    told: list[str] = []
    patch = pytest.MonkeyPatch()
    patch.setattr(new_items, "FILES", ("shop.txt",))
    new_items.run_new_items(folder, folder, [0, 1], told.append)
    patch.undo()
    return folder, told


def test_every_scorer_has_its_figures(study: tuple[Path, list[str]]) -> None:
    folder, told = study
    kept = json.loads((folder / "new-items.json").read_text(encoding="utf-8"))
    assert len(kept["runs"]) == len(told) - 1 == 2 * 7
    found = {(row["scorer"], row["epsilon"]) for row in kept["runs"]}
    assert found == {
        ("random", "any"),
        ("features alone", "any"),
        ("oracle popularity", "any"),
        *(("predicted popularity", e) for e in ("none", 8.0)),
        *(("map", e) for e in ("none", 8.0)),
    }
    for row in kept["runs"]:
        for pool in ("hidden", "all"):
            values = [row[f"{pool}_{m}"] for m in ("hr@10", "ndcg@10", "percentile")]
            assert all(0 <= value <= 1 for value in values)
        assert row["hidden items"] == 12


def test_the_map_tells_kinds_apart_without_having_seen_the_items(
    study: tuple[Path, list[str]],
) -> None:
    kept = json.loads((study[0] / "new-items.json").read_text(encoding="utf-8"))["runs"]
    place = {
        (scorer, epsilon): np.mean(
            [r["hidden_percentile"] for r in kept if _is(r, scorer, epsilon)]
        )
        for scorer, epsilon in (("map", "none"), ("random", "any"))
    }
    assert place["map", "none"] < 0.32  # the better half of the items, in any order: 0.25
    assert place["random", "any"] == pytest.approx(0.5, abs=0.05)


def _is(row: dict[str, object], scorer: str, epsilon: object) -> bool:
    return (row["scorer"], row["epsilon"]) == (scorer, epsilon)


def test_the_page_says_how_it_was_made(study: tuple[Path, list[str]]) -> None:
    text = (study[0] / "new-items.md").read_text(encoding="utf-8")
    assert "python -m simulations.results new-items --seeds 0 1" in text
    assert "## shop.txt" in text
    assert "nan" not in text
