"""Exact sums (mode `none`) again: what leaves is what was charged, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.guard import Guard
from client.ledger_store import Key
from common.errors import Code
from common.protocol import OK, Reply

RELEASED = ["open", "admit", "reserve", "spend"]


@pytest.fixture
def bare(prepare_run: Callable[..., Any], open_shop: Callable[..., Any]) -> Any:
    return open_shop(prepare_run(mode="none", no_privacy=True, fixed_noise=False))


def kept(shop: Any) -> bytes:
    with shop.ledger() as ledger:
        return bytes(ledger.find(Key(shop.job.job_id, 0, 0)).payload)


def test_they_are_computed_again_and_are_the_same(bare: Any) -> None:
    first, again = bare.ask(bare.task()), bare.ask(bare.task())
    assert first.code == again.code == OK
    assert (first.head, first.arrays["sum"].tobytes()) == (
        again.head,
        again.arrays["sum"].tobytes(),
    )
    assert kept(bare) == b""
    assert bare.kinds() == RELEASED


def test_a_closed_job_gets_none(bare: Any) -> None:
    bare.ask(bare.task())
    with Guard.open(bare.store) as guard:
        guard.close_job(bare.job.job_id)
    assert bare.ask(bare.task()) == Reply(str(Code.JOB_CLOSED))
    assert bare.kinds() == [*RELEASED, "close", "refuse"]


def test_a_log_that_has_grown_gives_none(bare: Any) -> None:
    bare.ask(bare.task())
    path = bare.folder / "events.parquet"
    events = pd.read_parquet(path)
    pd.concat([events, events.iloc[:1]]).to_parquet(path, index=False)
    assert bare.ask(bare.task()) == Reply(str(Code.CLIENT_UNREADY))
    assert bare.rows("refuse")[-1].body["code"] == str(Code.SNAPSHOT_CHANGED)


def test_a_sum_that_comes_out_differently_stays_here(bare: Any, monkeypatch: Any) -> None:
    bare.ask(bare.task())

    def off(arrays: Any, _: Any) -> Any:
        return {name: array.astype(np.float32) + 1 for name, array in arrays.items()}

    with monkeypatch.context() as patch:
        patch.setattr("client.training.declared", off)
        assert bare.ask(bare.task()) == Reply(str(Code.REPLAY_CONFLICT))
    assert bare.rows("refuse")[-1].body["detail"] == "PrivacyError"
    assert bare.ask(bare.task()).code == OK


def test_where_users_are_sampled_the_bytes_are_kept(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> None:
    settings = {"sampling_rate": 0.5}
    run = prepare_run(
        mode="none", no_privacy=True, fixed_noise=False, solver="dpsgd", settings=settings
    )
    shop = open_shop(run)
    for step in range(len(shop.schedule.steps)):
        first, again = shop.ask(shop.task(step)), shop.ask(shop.task(step))
        assert first.code == again.code == OK
        assert first.head == again.head
        for name, array in first.arrays.items():
            assert array.tobytes() == again.arrays[name].tobytes()
    assert kept(shop) == b""  # of the first step, which samples nobody
