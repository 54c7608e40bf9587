"""Clients killed at random: a small study, and the defects that it must find."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.guard import Guard
from client.ledger_store import Key, LedgerStore, StoredRelease
from common.artifacts import arrays_to_bytes
from simulations.attacks.kills import Found, kill_clients, main
from simulations.attacks.kills_child import PHASES


def studied(folder: Path, kills: int = 6, seed: int = 5) -> Found:
    return kill_clients(folder, kills, np.random.default_rng(seed))


def test_nothing_is_ever_sent_that_was_not_reserved(tmp_path: Path, capsys: Any) -> None:
    assert main(["--kills", "15", "--seed", "3", "--out", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kills"], said["violations"]) == (15, 0)
    assert [row["phase"] for row in said["by_phase"]] == list(PHASES)
    assert sum(row["kills"] for row in said["by_phase"]) == 15
    assert said["replies"] >= 2 * said["steps"] * said["lives"]
    assert len(json.loads((tmp_path / "kills.json").read_text())["runs"]) == 15
    assert "Violations: 0." in (tmp_path / "kills.md").read_text()


def test_a_client_that_sends_before_it_stores_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(
        self: LedgerStore, key: Key, request: str, payload: bytes, spend: Mapping[str, Any]
    ) -> StoredRelease:
        return StoredRelease(request, self.signed_head(), payload)

    monkeypatch.setattr(LedgerStore, "commit_release", forgetful)
    assert "nothing is stored" in str(studied(tmp_path).violations)


def test_a_client_that_reserves_nothing_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It charges what it stores to the first row, which is no reservation."""

    def free(*_: Any, **__: Any) -> int:
        return 0

    monkeypatch.setattr(Guard, "_reserve", free)
    assert "spends what was never reserved" in str(studied(tmp_path).violations)


def test_a_client_whose_bytes_change_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = LedgerStore.find

    def drifting(self: LedgerStore, key: Key) -> StoredRelease | None:
        found = original(self, key)
        if found is None:
            return None
        arrays = {"sum": np.random.default_rng().normal(size=(1, 1)).astype(np.float32)}
        return StoredRelease(found.request_hash, found.head, arrays_to_bytes(arrays))

    monkeypatch.setattr(LedgerStore, "find", drifting)
    assert "left with other bytes" in str(studied(tmp_path, kills=2).violations)
