"""What leaves a client that is sent a model: a code. Nothing of the model, the disk or its data."""

from __future__ import annotations

from typing import Any

import pytest
from flwr.app import RecordDict

from client.models import ModelStore
from common.errors import Code, DataError
from common.protocol import MODEL, OK
from tests.client.test_release_rule import (
    ERRORS,
    SECRET,
    assert_code_only,
    raising,
    told,
)
from tests.sent_models import a_message

PHASES = [
    ("client.app.resolve_home", "resolve home"),
    ("client.store.ClientPlace.open", "open store"),
    ("client.app.check_home", "check home"),
    ("client.guard.Entrance.open", "open ledger"),
    ("client.guard.entrance.check_message", "look at its size"),
    ("client.guard.entrance.check_halted", "look at the ledger"),
    ("common.protocol.ModelMessage.from_records", "read model"),
    ("client.guard.entrance.check_sent_model", "check model"),
    ("client.models.folder_lock", "lock"),
    ("client.model_pointer.Pointer.read", "read the one before"),
    ("client.models.save_artifact", "write"),
    ("client.model_pointer.Pointer.write", "point to it"),
    ("client.models.ModelStore._tidy", "tidy up"),
    ("client.app.answer_model", "build reply"),
    ("client.ledger_store.LedgerStore.close", "close ledger"),
]
KEPT = {"tidy up", "build reply", "close ledger"}
"""Phases after which the model is the client's, whatever it answers."""


@pytest.fixture
def records(shop: Any) -> RecordDict:
    return a_message(shop.key, catalogue_version=shop.store.catalogue.version).to_records()


def test_that_it_is_kept_leaves_as_a_code(shop: Any, records: RecordDict) -> None:
    assert_code_only(shop.send(records, MODEL), OK)
    assert shop.kinds() == ["open"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(("target", "phase"), PHASES, ids=[name for _, name in PHASES])
def test_an_exception_in_any_phase_leaves_as_a_code(
    shop: Any, records: RecordDict, monkeypatch: Any, target: str, phase: str, error: BaseException
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(target, raising(error))
        assert_code_only(shop.send(records, MODEL), told(phase, error, Code.INTERNAL))
    assert (ModelStore(shop.folder).current() is not None) == (phase in KEPT)
    assert_code_only(shop.send(records, MODEL), OK)
    assert len(list((shop.folder / "models").iterdir())) == 2


@pytest.mark.parametrize(("target", "phase"), PHASES, ids=[name for _, name in PHASES])
def test_an_error_of_our_own_leaves_as_its_code(
    shop: Any, records: RecordDict, monkeypatch: Any, target: str, phase: str
) -> None:
    error = DataError(Code.CATALOGUE_MISMATCH, SECRET, where=SECRET, remedy=SECRET)
    monkeypatch.setattr(target, raising(error))
    assert_code_only(shop.send(records, MODEL), told(phase, error, Code.CATALOGUE_MISMATCH))


@pytest.mark.parametrize("error", [KeyboardInterrupt(SECRET), SystemExit(SECRET)])
def test_being_told_to_stop_sends_nothing_and_keeps_what_was_there(
    shop: Any, records: RecordDict, monkeypatch: Any, error: BaseException
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("client.models.save_artifact", raising(error))
        with pytest.raises(type(error)):
            shop.send(records, MODEL)
    assert ModelStore(shop.folder).current() is None
    assert_code_only(shop.send(records, MODEL), OK)
