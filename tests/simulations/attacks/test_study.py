"""The study of both audits writes its page; what it expects is what audits show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulations.attacks import study
from simulations.attacks.study import expected_many_run, expected_one_run, run_attacks


def test_the_page_has_every_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = ("popularity", "subspace")
    small = {"users": 30, "items": 30, "canaries": 60}
    dims = {"popularity": {}, "subspace": {"settings": {"embedding_dim": 4, "rounds": 2}}}
    cases = [case for case in study.ONE_RUNS if case["solver"] in quick]
    ones = [{**case, **small, **dims[case["solver"]]} for case in cases]
    many = [
        {**case, "runs": 60, "users": 20, "items": 20}
        for case in study.MANY_RUNS
        if case["solver"] in quick
    ]
    monkeypatch.setattr(study, "ONE_RUNS", ones[:5])
    monkeypatch.setattr(study, "MANY_RUNS", many)
    monkeypatch.setattr(study, "EXPECTED", (1_000,))
    run_attacks(tmp_path, tmp_path, [0, 1], lambda _: None)
    text = (tmp_path / "audit-attacks.json").read_text()
    assert "NaN" not in text
    runs = json.loads(text)["runs"]
    assert len(runs) == 2 * 5 + len(many)
    page = (tmp_path / "audit-attacks.md").read_text()
    for words in ("| popularity | no noise |", "half noise", "clips events", "plan, 1 sum |"):
        assert words in page


def test_more_canaries_and_more_runs_are_expected_to_show_more() -> None:
    few, more = expected_one_run(1_000), expected_one_run(10_000)
    assert 1.0 < few["any"] < more["any"] < few["gaussian"] + 1.0 < 4.0
    few, more = expected_many_run(10_000), expected_many_run(1_000_000)
    assert few["any"] < more["any"] < few["gaussian"] < more["gaussian"] < 4.0
