"""How a command ended: well, with one line that says why not, or in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulations.deployment.chaos.campaign import Result
from simulations.deployment.chaos.faults import Fault
from simulations.deployment.chaos.summary import write_results
from simulations.deployment.chaos.verdict import Ended

WHY = "error run-quorum: start: 1 client can take part. Wait.\nSee docs/errors/run-quorum.md.\n"


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [(0, "round 1/1\nmodel 0001-ab\n", "ok"), (2, f"round 1/1\n{WHY}", "run-quorum")],
    ids=["finished", "says why"],
)
def test_it_finishes_or_says_why_not(status: int, said: str, code: str) -> None:
    ended = Ended("run-001", status, said, healed=False)
    assert list(ended.faults()) == []
    assert ended.code == code


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, "round 1/3\n"),
        (2, "round 1/3\n"),
        (2, WHY + WHY),
        (1, ""),
        (2, "Traceback (most recent call last):\n" + WHY),
        (0, "Traceback (most recent call last):\n"),
    ],
    ids=["no end", "no word", "two words", "nothing", "trace", "trace and an end"],
)
def test_silence_and_noise_are_found(status: int | None, said: str) -> None:
    assert list(Ended("run-001", status, said).faults())


@pytest.mark.parametrize("code", ["internal", "run-mismatch", "disk-full"])
def test_one_line_is_no_excuse_for_what_should_not_be(code: str) -> None:
    said = f"error {code}: run-001: something. Wait.\n"
    (fault,) = Ended("run-001", 2, said, healed=False).faults()
    assert code in fault


def test_where_nothing_is_amiss_it_finishes() -> None:
    (fault,) = Ended("run-001", 2, WHY).faults()
    assert "nothing was amiss" in fault


def test_the_summary_counts_what_happened_and_lists_what_did_not_hold(tmp_path: Path) -> None:
    fault = Fault(place="node", shop="north", kind="kill", at_seconds=1.0, for_seconds=2.0)
    happened = {**fault.model_dump(), "state": "over", "happened_at": 1.5}
    missed = {**fault.model_dump(), "state": "missed", "happened_at": None}
    common = {"mode": "local", "seconds": 12.0, "flower_runs": 1}
    results = [
        Result({**common, "run": 1, "ended": "ok", "faults": [happened, missed], "violations": []}),
        Result({**common, "run": 2, "ended": "", "faults": [happened], "violations": ["silence"]}),
    ]
    write_results(tmp_path, "python -m chaos", results)
    text = (tmp_path / "chaos.md").read_text()
    assert "2 runs, 2 faults that happened, 1 that found nobody" in text
    assert "Ended: ok 1, silence 1." in text
    assert "Violations: 1." in text
    assert "- run 2: silence" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| node |")]
    assert " 2 " in row
    assert len(json.loads((tmp_path / "chaos.json").read_text())["runs"]) == 2
