"""Metrics say what others have seen anyway, and nothing that follows the data."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd

from client.monitor.health import health
from client.monitor.metrics import metrics
from common.errors import Code
from common.protocol import OK
from simulations.run_folder import RunFolder
from tests.client.monitor.watching import families, values, watched, write_authority
from tests.conftest import Shop, shop_of

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "client.md"


def ask_everything(shop: Shop) -> None:
    """Releases of a whole job, and two kinds of refusals."""
    shop.allow_much()
    assert shop.ask(shop.task(0)).code == OK
    assert shop.ask(shop.task(1, inputs={})).code == Code.INBOUND_ARRAY
    for step in range(1, len(shop.schedule.steps)):
        assert shop.ask(shop.task(step)).code == OK
    lifetime = shop.policy.lifetime.model_dump()
    shop.allow(lifetime={**lifetime, "epsilon": 0.001})
    other = shop.variant(job_id="0" * 32)
    assert other.ask(other.task(0)).code == Code.BUDGET_LIFETIME
    shop.allow(lifetime=lifetime)


def other_data(folder: Path) -> None:
    """The same shop with a few customers who buy other things, a lot."""
    path = folder / "events.parquet"
    events = pd.read_parquet(path)
    kept = events[events["user_id"].isin(sorted(events["user_id"].unique())[:5])]
    kept = pd.concat([kept.assign(item_id=item) for item in sorted(events["item_id"].unique())])
    assert len(kept) != len(events)
    kept.reset_index(drop=True).to_parquet(path, index=False)
    (folder / "heldout.parquet").unlink(missing_ok=True)


def test_two_clients_with_the_same_releases_have_the_same_page(run_folder: RunFolder) -> None:
    other = Path(shutil.copytree(run_folder.path, run_folder.path.with_name("other")))
    shops = [shop_of(run_folder.path), shop_of(other)]
    other_data(shops[1].folder)
    assert shops[0].store.histories.n_users != shops[1].store.histories.n_users
    pages, states = [], []
    for shop in shops:
        write_authority(shop.folder)
        ask_everything(shop)
        pages.append(metrics(watched(shop.folder)))
        states.append(health(watched(shop.folder)))
    assert pages[0] == pages[1]
    assert states[0] == states[1]
    spent = {n: v for n, v in values(pages[0]).items() if n.startswith("hushrec_releases_spent")}
    assert set(spent.values()) == {float(len(shops[0].schedule.steps))}
    assert values(pages[0])['hushrec_refusals_total{code="inbound-array"}'] == 1.0
    assert not [n for n in values(pages[0]) if not n.startswith("hushrec_")]


def test_the_guide_lists_every_metric_with_its_labels(shop: Shop) -> None:
    write_authority(shop.folder)
    ask_everything(shop)
    (shop.folder / "models").mkdir()
    (shop.folder / "models" / "current.json").write_text('{"serial": 3, "version": "v3"}')
    section = re.search(r"^## `/metrics`\n(.*?)^## ", GUIDE.read_text(), re.M | re.S)
    assert section is not None
    listed: dict[str, set[str]] = {}
    labels: set[str] = set()
    for names, more in re.findall(r"^\| (`hushrec_[^|]*)\|([^|]*)\|", section[1], re.M):
        labels = labels if more.strip() == "the same" else set(re.findall(r"`(\w+)`", more))
        listed |= dict.fromkeys(re.findall(r"`(\w+)`", names), labels)
    listed["hushrec_model_serial"] = set()
    page = metrics(watched(shop.folder))
    assert families(page) == listed
    assert values(page)["hushrec_model_serial"] == 3.0


def test_a_code_that_tells_of_data_is_counted_as_it_left(shop: Shop) -> None:
    ask_everything(shop)
    body = {"job_id": "", "step": -1, "detail": ""}
    with shop.ledger() as ledger:
        for code in (Code.SNAPSHOT_CHANGED, Code.CLIENT_UNREADY):
            ledger.append("refuse", {**body, "code": str(code)})
    page = metrics(watched(shop.folder))
    assert values(page)['hushrec_refusals_total{code="client-unready"}'] == 2.0
    assert b"snapshot-changed" not in page


def test_what_cannot_be_read_is_zero_and_the_page_stays(shop: Shop) -> None:
    (shop.folder / "policy.toml").write_text("user = 'Ada'")
    page = metrics(watched(shop.folder))
    assert values(page)["hushrec_policy_readable"] == 0.0
    assert values(page)["hushrec_ledger_readable"] == 1.0
    assert b"Ada" not in page
    assert b"epsilon" not in page


def test_a_broken_ledger_is_not_readable_whatever_the_policy_is(shop: Shop) -> None:
    ask_everything(shop)
    (shop.folder / "policy.toml").unlink()
    (shop.folder / "ledger.sqlite").write_bytes(b"no ledger")
    assert values(metrics(watched(shop.folder)))["hushrec_ledger_readable"] == 0.0


def test_a_client_that_was_never_asked_has_all_its_budget(run_folder: RunFolder) -> None:
    page = values(metrics(watched(shop_of(run_folder.path).folder)))
    left = {name: value for name, value in page.items() if "epsilon_left" in name}
    assert len(left) >= 1
    for name, value in left.items():
        assert 0 < value <= page[name.replace("left", "cap")]


def test_a_model_that_cannot_be_read_is_none(shop: Shop) -> None:
    (shop.folder / "models").mkdir()
    for text in ("{", "[]", json.dumps({"serial": "1", "version": 2})):
        (shop.folder / "models" / "current.json").write_text(text)
        assert "hushrec_model_serial" not in families(metrics(watched(shop.folder)))
