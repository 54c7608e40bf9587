"""Manifests are held to ledgers: what somebody could change is a finding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.artifacts import Manifest, save_artifact
from common.audit.manifests import ManifestFile, check_manifests, read_manifests
from common.files import write_atomic
from common.privacy.events import event_of
from common.privacy.heads import SignedHead
from common.privacy.ledger import Row, next_row, open_row
from common.privacy.plan import PrivacyPlan, ReleaseShape
from common.privacy.planner import make_plan
from common.privacy.roster import Terms
from common.privacy.signing import SigningKey

JOB = "a" * 32
KEY = SigningKey.create()
PLAN = make_plan(
    [ReleaseShape(step=f"subspace.round{k}", rows=20, width=2, share=1.0) for k in (1, 2)],
    epsilon=3.0,
    delta=1e-5,
    unit="user",
    mode="local",
    population=1000,
)
PRIVACY = {
    "mode": "local",
    "unit": "user",
    "delta": 1e-5,
    "releases": [release.model_dump(mode="json") for release in PLAN.releases],
}


def ledger(
    *,
    reproducible: bool = False,
    plan: PrivacyPlan = PLAN,
    charges: Sequence[tuple[int, int]] = ((0, 0), (1, 0)),
) -> list[Row]:
    """A ledger that released both steps, each in one session."""
    rows = [open_row("shop-1", "d" * 32, "0" * 64, "2026", KEY.public)]

    def add(kind: Any, **body: Any) -> None:
        rows.append(next_row(rows[-1], kind, body, "2026"))

    add("admit", job_id=JOB, plan=plan.model_dump(mode="json"))
    for step, session in charges:
        event = event_of(plan.releases[step]).model_dump(mode="json")
        more = {"reproducible": True} if reproducible else {}
        add("reserve", job_id=JOB, step=step, session=session, event=event, **more)
        add("spend", reservation=rows[-1].seq, release_sha256="0" * 64)
    return rows


ROWS = ledger()


def head(seq: int, key: SigningKey = KEY, client: str = "shop-1") -> dict[str, Any]:
    return SignedHead.sign(key, client, seq, ROWS[seq].hash).model_dump()


def artefact(step: int, **changes: Any) -> ManifestFile:
    answered = changes.pop("answered", frozenset({"shop-1"}))
    values: dict[str, Any] = {
        "kind": "checkpoint",
        "name": "subspace",
        "catalogue_version": "c",
        "job_id": JOB,
        "step": step,
        "private": True,
        "privacy": PRIVACY,
        "heads": {"shop-1": head(1 + 2 * step)},
        **changes,
    }
    return ManifestFile(f"step-{step}", Manifest.model_validate(values), answered)


def whats(*artefacts: ManifestFile, rows: list[Row] | None = None) -> list[str]:
    found = check_manifests(artefacts, {"shop-1": ROWS if rows is None else rows})
    return [finding.what for finding in found]


def test_honest_artefacts_have_no_finding() -> None:
    model = artefact(2, kind="model", answered=None)
    assert whats(artefact(1), artefact(2), model) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"job_id": "b" * 32}, "never admitted the job"),
        ({"privacy": {**PRIVACY, "delta": 1e-6}}, "admitted delta 1e-05, it says 1e-06"),
        ({"privacy": {**PRIVACY, "mode": "none"}}, "admitted mode 'local'"),
        ({"privacy": {**PRIVACY, "releases": []}}, "admitted another plan"),
        ({"heads": {"shop-1": {**head(3), "seq": 5}}}, "cannot be trusted"),
        ({"heads": {"shop-1": head(3, SigningKey.create())}}, "cannot be trusted"),
        ({"heads": {"shop-1": head(3, client="shop-2")}}, "has the head of shop-2"),
        ({"heads": {"shop-1": head(2)}}, "signed row 2, which is no release"),
        ({"heads": {"shop-1": {}}}, "cannot be trusted"),
        ({"heads": {}}, "took part and has no head"),
        ({"heads": {"shop-9": head(3)}}, "has no ledger here"),
        ({"heads": {"shop-1": head(5)}}, "released step 1, it has 1 steps"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], expected: str) -> None:
    found = whats(artefact(1, **changes))
    assert any(expected in what for what in found), found


def test_a_head_of_a_row_that_the_ledger_does_not_have() -> None:
    assert any("without the row 5" in what for what in whats(artefact(2), rows=ROWS[:5]))
    other = SignedHead.sign(KEY, "shop-1", 3, "0" * 64).model_dump()
    assert any("without the row 3" in w for w in whats(artefact(1, heads={"shop-1": other})))


def test_a_step_that_was_used_and_not_released_is_found() -> None:
    late = artefact(2, heads={"shop-1": head(3)})
    assert any(
        "released 1 steps up to its head, 2 were used" in w for w in whats(artefact(1), late)
    )


def test_a_step_that_was_released_and_not_used_is_in_order() -> None:
    unused = artefact(1, answered=frozenset(), heads={})
    assert whats(unused, artefact(2)) == []


def test_noise_from_a_seed_is_not_private() -> None:
    rows = ledger(reproducible=True)
    signed = SignedHead.sign(KEY, "shop-1", 3, rows[3].hash).model_dump()
    found = whats(artefact(1, heads={"shop-1": signed}), rows=rows)
    assert found == ["shop-1 released without secret noise, it says private."]
    honest = artefact(1, heads={"shop-1": signed}, private=False)
    assert whats(honest, rows=rows) == []


@pytest.mark.parametrize(
    ("charged", "finding"),
    [
        ([2, 1], None),
        ([2, 3], None),  # of some sessions a server cannot know
        ([1, 1], "was charged for 2 sessions of step 0, it counts 1"),
        ([2], "was charged for 1 sessions of step 1, it counts 0"),
        (None, "was charged for 2 sessions of step 0, it counts 0"),
        ("22", "was charged for 2 sessions of step 0, it counts 0"),
    ],
)
def test_every_charged_session_of_a_secure_sum_is_counted(
    charged: Any, finding: str | None
) -> None:
    plan = make_plan(
        [ReleaseShape(step=f"s{k}", rows=20, width=2, share=1.0) for k in (1, 2)],
        epsilon=3.0, delta=1e-5, unit="user", mode="distributed", population=1000,
        terms=Terms(5, 4, 1),
    )  # fmt: skip
    rows = ledger(plan=plan, charges=[(0, 0), (0, 1), (1, 0)])
    releases = [release.model_dump(mode="json") for release in plan.releases]
    privacy = {**PRIVACY, "mode": "distributed", "releases": releases, "charged": charged}
    signed = SignedHead.sign(KEY, "shop-1", 7, rows[7].hash).model_dump()
    found = whats(artefact(2, heads={"shop-1": signed}, privacy=privacy), rows=rows)
    assert found == ([] if finding is None else [f"shop-1 {finding}."])


def test_artefacts_are_found_whole_in_order_or_named(tmp_path: Path) -> None:
    arrays = {"item": np.zeros((2, 2), np.float32)}
    for step in (2, 1):
        folder = tmp_path / "checkpoints" / f"step-{step:04d}"
        save_artifact(folder, arrays, artefact(step).manifest)
        write_atomic(folder / "round.json", b'{"answered": ["shop-1"]}')
    save_artifact(tmp_path / "model", arrays, artefact(2, kind="model").manifest)
    found, broken = read_manifests(tmp_path)
    assert [(one.manifest.kind, one.manifest.step) for one in found] == [
        ("checkpoint", 1),
        ("checkpoint", 2),
        ("model", 2),
    ]
    assert [one.answered for one in found] == [frozenset({"shop-1"})] * 2 + [None]
    assert broken == []
    blob = tmp_path / "model" / "arrays.safetensors"
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x01")
    found, broken = read_manifests(tmp_path)
    assert len(found) == 2
    assert broken[0].where == "model"
    assert "hash" in broken[0].what
