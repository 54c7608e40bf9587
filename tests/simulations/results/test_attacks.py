"""The studies of both attacks on a few users: every table is filled, every run is kept."""

from __future__ import annotations

import json

import pytest

from simulations.results import membership, reconstruction


@pytest.mark.parametrize("study", ["membership", "reconstruction"])
def test_a_study_writes_its_page_and_every_run(study, tmp_path, monkeypatch):
    small = {"users": 250, "items": 60, "solver": "popularity"}
    if study == "membership":
        module, run = membership, membership.run_membership
        more, seeds = {"shadows": 9}, [3]
    else:
        module, run = reconstruction, reconstruction.run_reconstruction
        more, seeds = {"targets": 5, "releases": 2}, [0, 1]
    monkeypatch.setattr(module, "CASES", [{**small, **more, "epsilon": e} for e in (None, 2.0)])
    told: list[str] = []
    run(tmp_path / "no-data", tmp_path, seeds, told.append)
    text = (tmp_path / f"audit-{study}.md").read_text(encoding="utf-8")
    assert f"python -m simulations.results {study} --seeds {' '.join(map(str, seeds))}" in text
    assert "| none |" in text
    assert "| 2 |" in text
    assert "nan" not in text
    kept = json.loads((tmp_path / f"audit-{study}.json").read_text(encoding="utf-8"))
    assert len(kept["runs"]) == len(told) == 2 * len(seeds)
    assert {run["seed"] for run in kept["runs"]} == set(seeds)


def test_curves_are_kept_in_few_points():
    result = membership.infer_membership(
        membership.MembershipSettings(users=200, items=40, solver="popularity", shadows=9)
    )
    row = membership._row(result)
    for points in row["roc"].values():
        assert len(points) <= 40
        assert points == sorted(points)
