"""The report says what clients' policies allow, what is left, and what an audit found."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from simulations.report import ReportData, render
from simulations.report.budgets import read_audit, read_budgets
from simulations.report.data import AuditFigures


def words_of(data: ReportData) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", render(data))))


def test_caps_and_what_is_left(sample: ReportData) -> None:
    words = words_of(sample)
    assert "the least that is left is 25%, at shop-04" in words
    assert "GDP filter at δ = 7.3×10⁻⁵, user level (add/remove one user), local mode" in words
    assert "All 32 budgets" in words


def test_an_audit_is_told_and_its_absence_too(sample: ReportData) -> None:
    words = words_of(sample)
    assert "Audited on 2026-11-21 09:00 UTC. No broken promise was found." in words
    assert "One run with canaries: ε ≥ 1.15" in words
    assert "audit/audit.html" in words
    bare = sample.model_copy(update={"audit": None, "budgets": ()})
    assert "Not audited when this page was made: hushrec audit DIR" in words_of(bare)
    assert "lifetime cap" not in words_of(bare)
    broken = AuditFigures(created="now", verdict="broken", findings=2)
    assert "It found promises that are broken. Findings: 2." in words_of(
        sample.model_copy(update={"audit": broken})
    )


def test_budgets_come_from_policies_and_ledgers(shop: Any, run_folder: Any) -> None:
    shop.ask(shop.task(0))
    first, second, _ = read_budgets(run_folder.path)
    assert first.cap == shop.policy.lifetime.epsilon
    assert first.spent > 0
    assert first.reserved > 0  # what the open job still holds
    assert first.spent + first.reserved + first.left == pytest.approx(1.0)
    assert (second.spent, second.left, second.in_force) == (0, 1, 0)


def test_an_audit_is_read_if_it_can_be(tmp_path: Path) -> None:
    assert read_audit(tmp_path) is None
    folder = tmp_path / "audit"
    folder.mkdir()
    for text in ("", "{}", '{"created": 1, "verdict": "kept", "findings": [], "bounds": [{}]}'):
        (folder / "audit.json").write_text(text)
        assert read_audit(tmp_path) is None
    values = {
        "created": "now",
        "verdict": "kept",
        "findings": [],
        "bounds": [{"name": "a", "words": "b"}],
    }
    (folder / "audit.json").write_text(json.dumps(values))
    found = read_audit(tmp_path)
    assert found is not None
    assert found.attacks == (("a", "b"),)
