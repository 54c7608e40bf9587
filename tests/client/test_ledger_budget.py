"""A client whose tables were changed on the disk holds its cap all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from common.errors import Code
from common.protocol import OK

DAMAGE = {
    "reserved": "DELETE FROM reserved",
    "counts": "UPDATE reserved SET day = '2000-01-01'",
    "event": "DELETE FROM event",
    "pledged": "DELETE FROM pledged",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_no_release_goes_beyond_the_cap(shop: Any, damage: str) -> None:
    shop.allow(
        lifetime={"epsilon": 8.7, "delta": shop.job.delta}, periods=({"days": 7, "epsilon": 8.7},)
    )
    steps = 1 if "pledged" in damage else 3
    assert [shop.ask(shop.task(step)).code for step in range(steps)] == [OK] * steps
    for number in range(2):
        with closing(sqlite3.connect(shop.store.ledger_path)) as connection, connection:
            connection.execute(damage)
        job = shop.task(0).job.model_copy(update={"job_id": f"{number:02x}" * 16})
        asked = shop.ask(replace(shop.task(0), job=job))
        assert asked.code in {str(Code.BUDGET_LIFETIME), str(Code.BUDGET_PERIOD)}
    with shop.ledger() as ledger:
        ledger.verify()
        assert ledger.count("admit") == 1
