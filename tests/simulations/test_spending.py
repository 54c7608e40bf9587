"""What is said of a run whose ledgers do not hold what its mode promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client.ledger_store import LedgerStore
from common.privacy.events import NoPrivacyEvent
from server.record import RoundRecord
from simulations import live
from simulations.live import LiveView
from simulations.result_table import print_result
from simulations.runner import resume_run, start_run
from simulations.spending import read_ledgers
from simulations.summary import EXACT_NOTE


@dataclass(frozen=True)
class Finished:
    path: Path
    result: dict[str, Any]


@pytest.fixture
def finished(small_scenario: Callable[..., Any], tmp_path: Path) -> Callable[..., Finished]:
    def made(**changes: Any) -> Finished:
        scenario = small_scenario(**changes)
        with LiveView() as view:
            result = start_run(scenario, tmp_path / "run", view, force=False)
        return Finished(tmp_path / "run", result)

    return made


def test_one_release_without_privacy_leaves_no_epsilon(
    finished: Callable[..., Finished], open_shop: Callable[..., Any], capsys: Any
) -> None:
    """Exact sums that left one client before spoil the run, whatever the others spent."""
    run = finished(fixed_noise=False)
    assert run.result["privacy"]["private"]
    shop = open_shop(run, 1)
    bare = NoPrivacyEvent(rows=1, width=1, steps=1).model_dump(mode="json")
    settings = shop.store.settings
    with LedgerStore.open(shop.store.ledger_path, settings.name, settings.dataset_id) as ledger:
        ledger.append("reserve", {"job_id": "earlier", "step": 0, "event": bare})
    with LiveView() as view:
        result = resume_run(run.path, view)
    privacy = result["privacy"]
    assert (privacy["epsilon"], privacy["private"]) == (None, False)
    assert "NOT PRIVATE" in privacy["warning"]
    assert "shop-2" in privacy["warning"]
    assert privacy["per_client"]["shop-2"] is None
    assert privacy["per_client"]["shop-1"] > 7.9
    json.dumps(result, allow_nan=False)
    page = (run.path / "report.html").read_text()
    assert "This run gives no privacy guarantee" in page
    assert "differentially private" not in page
    capsys.readouterr()
    print_result(result)
    said = capsys.readouterr().out
    assert "NOT PRIVATE" in said
    assert "ε =" not in said


def test_a_ledger_with_seeded_noise_is_read_as_such(
    finished: Callable[..., Finished], open_shop: Callable[..., Any], capsys: Any
) -> None:
    run = finished(fixed_noise=True)
    stores = [open_shop(run, position).store for position in range(3)]
    assert all(ledger.reproducible for ledger in read_ledgers(stores, 1e-3))
    print_result(run.result)
    said = " ".join(capsys.readouterr().out.split())
    assert "had the noise been secret" in said
    assert said.count(EXACT_NOTE) == 2  # both tables are of exact figures


def record(noise_std: float | None, ratio: float | None) -> RoundRecord:
    return RoundRecord(
        step=0, of=1, name="s", answered=(), refused={}, seconds=1.0, bytes_down=1, bytes_up=1,
        noise_std=noise_std, signal_to_noise=ratio,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "shown"), [((None, None), "–"), ((0.0, None), "no noise"), ((2.0, 1.5), "1.50")]
)
def test_the_live_table_tells_no_noise_from_no_total(
    given: Sequence[float | None], shown: str
) -> None:
    assert live._ratio(record(*given)) == shown
