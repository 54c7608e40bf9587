"""A child that cannot even be started is tried again."""

from __future__ import annotations

import asyncio
import sys

import pytest

from client.running.backoff import Backoff
from client.running.keeper import Keeper
from client.running.state import PartState
from tests.client.launcher.deployment import until
from tests.common.logging_state import guarded


def test_a_part_that_cannot_be_started_for_now_is_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, backoff = PartState(), Backoff(first_seconds=0.001, longest_seconds=0.01)
    keeper = Keeper("node", (sys.executable, "-c", "pass"), state, backoff=backoff)

    async def run() -> None:
        told = asyncio.Event()
        keeping = asyncio.ensure_future(keeper.keep(told))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nowhere/python")
            await asyncio.to_thread(until, lambda: state.restarts >= 3, "three tries")
        await asyncio.to_thread(until, has_run, "a start")
        told.set()
        await keeping

    def has_run() -> bool:
        return any(line.get("status") == 0 for line in written.lines)

    with guarded() as written:
        asyncio.run(run())
    assert state.being == "ended"
    failed = [line for line in written.lines if line.get("error") == "FileNotFoundError"]
    assert len(failed) >= 3
    assert "nowhere" not in written.text
