"""Our bounds are jax_privacy's, on its frozen values; the page is made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from simulations.attacks import comparison
from simulations.attacks.comparison import AGREEMENT, cases, main, our_values

FROZEN = Path(__file__).parents[3] / "docs" / "results" / "audit-jax-privacy.json"


def test_every_bound_is_that_of_jax_privacy() -> None:
    found = json.loads(FROZEN.read_text())["runs"]
    assert {case["jax_privacy"] for case in found} == {"2.0.0"}
    assert len(found) > 100
    for case in found:
        for name, value in our_values(case).items():
            assert value == pytest.approx(case["theirs"][name], abs=AGREEMENT), case


def test_cases_and_page_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With our own values in the place of theirs, there is no difference."""
    monkeypatch.setattr(comparison, "_CANARIES", 120)
    made = [{**case, "theirs": our_values(case)} for case in cases()]
    assert next(case["name"] for case in made if case["kind"] == "scores") == "one run, ε = 4"
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps({"jax_privacy": "none", "cases": made}))
    monkeypatch.setattr(sys, "argv", ["comparison", "page", str(theirs), "--out", str(tmp_path)])
    main()
    page = (tmp_path / "audit-jax-privacy.md").read_text()
    assert "| p-value | p_value | 72 | 0 |" in page
    assert "as audited, epsilon" in page
