"""A client's catalogue grows when its owner says so; models of its beginning are still taken."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.doctor.findings import Patient
from client.doctor.model import check_model
from client.models import ModelStore
from client.store import ClientPlace
from common.catalogue import Catalogue
from common.errors import Code
from common.protocol import MODEL, OK, Reply
from tests.client.enroll.shops import enrol_client, enrol_server, hushrec, refusal, said, write_data
from tests.sent_models import a_message


@pytest.fixture
def north(tmp_path: Path) -> Path:
    """A shop with the items a, b and c."""
    write_data(tmp_path)
    server = enrol_server(tmp_path / "server", "--catalogue", tmp_path / "products.csv")
    enrol_client(tmp_path / "north", "north", server)
    return tmp_path / "north"


def write(folder: Path, text: str) -> Path:
    (folder / "new.csv").write_text(text)
    return folder / "new.csv"


def test_new_items_stand_behind_those_that_are_known(north: Path) -> None:
    before = ClientPlace.open(north).catalogue
    file = write(north.parent, "item_id,title\na,A\nb,B\nc,C\nd,D\n")
    done = said("client", "catalogue", north, file)
    after = ClientPlace.open(north).catalogue
    assert done == {"items": 4, "new": ["d"], "version": after.version}
    assert after.begins_with(before.version, 3)
    assert (north / "catalogue.json").stat().st_mode & 0o777 == 0o644
    assert said("client", "catalogue", north, north / "catalogue.json")["new"] == []
    text = hushrec("client", "catalogue", north, file).stdout
    assert "0 items are new, the catalogue has 4." in text
    assert after.version in text.replace("\n", "")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("item_id,title\na,A\nb,B\n", "from row 3 on"),
        ("item_id,title\na,A\nc,C\nb,B\nd,D\n", "from row 2 on"),
        ("item_id,title\na,A\nb,other\nc,C\nd,D\n", "other things"),
        ("item_id,title,brand\na,A,x\nb,B,x\nc,C,x\n", "other things"),
    ],
)
def test_another_catalogue_is_refused_with_the_place(north: Path, text: str, where: str) -> None:
    before = (north / "catalogue.json").read_bytes()
    done = hushrec("client", "catalogue", north, write(north.parent, text))
    assert done.exit_code == 2
    assert Code.CATALOGUE_MISMATCH in done.stderr
    assert where in done.stderr.replace("\n", " ")
    assert (north / "catalogue.json").read_bytes() == before


def test_a_catalogue_of_somebodys_events_is_refused(north: Path) -> None:
    old = ClientPlace.open(north).catalogue
    titles = (*old.metadata["title"], "D")
    Catalogue((*old.item_ids, "d"), {"title": titles}, "derived").save(north.parent / "d.json")
    words = ("client", "catalogue", north, north.parent / "d.json")
    assert refusal(*words) == Code.CATALOGUE_INVALID


def test_the_clients_of_a_simulation_keep_theirs(shop: Any) -> None:
    words = ("client", "catalogue", shop.folder, shop.folder / "new.csv")
    assert refusal(*words) == Code.CONFIG_INVALID


def code(shop: Any, serial: int, version: str, n_items: int) -> str:
    message = a_message(shop.key, serial, catalogue_version=version, n_items=n_items, seed=serial)
    return Reply.from_records(shop.send(message.to_records(), MODEL).content).code


def test_a_roll_back_to_the_old_items_is_taken_and_no_other_beginning(shop: Any) -> None:
    """What is claimed of the arrays is held to the hash of as many items."""
    whole = shop.store.catalogue
    half = len(whole) // 2
    assert code(shop, 1, whole.version, len(whole)) == OK
    assert code(shop, 2, whole.first(half).version, half) == OK
    held = ModelStore(shop.folder).current()
    assert held is not None
    assert held.model.n_items == half
    for serial, (version, n_items) in enumerate(
        [
            (whole.first(half).version, half - 1),
            (whole.first(half).version, len(whole)),
            (whole.version, half),
            ("d" * 64, half),
            ("d" * 64, len(whole) + 1),
        ],
        3,
    ):
        expected = Code.INBOUND_ARRAY if version == whole.version else Code.ARTIFACT_CATALOGUE
        assert code(shop, serial, version, n_items) == expected
    now = ModelStore(shop.folder).current()
    assert now is not None
    assert now.serial == 2


def test_the_doctor_says_that_new_items_wait_for_their_model(shop: Any) -> None:
    whole = shop.store.catalogue
    assert code(shop, 1, whole.first(7).version, 7) == OK
    findings = check_model(Patient(shop.folder, datetime.now(UTC)))
    assert Code.ARTIFACT_CATALOGUE in [finding.code for finding in findings]


def test_arrays_that_are_no_list_of_counts_make_no_beginning(shop: Any) -> None:
    message = a_message(shop.key, 1, catalogue_version="d" * 64)
    message.arrays["popularity"] = np.ones((3, 3), np.float32)
    reply = shop.send(message.signed(shop.key).to_records(), MODEL)
    assert Reply.from_records(reply.content).code == Code.ARTIFACT_CATALOGUE
