"""A server that sends models: what is not by the rules changes nothing, and a code alone leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from client.data_files import EVENTS, REJECTED, SEALED
from client.doctor.findings import Patient
from client.doctor.model import check_model
from client.guard.refusals import MOST_OF_STRANGERS
from client.models import HeldModel, ModelStore
from client.store import CLIENT_TOML
from common.errors import ArtifactError, Code
from common.privacy.signing import SigningKey
from common.protocol import MODEL, OK, ModelMessage, Reply
from tests.kinds import NAME, a_drift, know_drift
from tests.sent_models import a_message, a_message_of, a_model, manifest_of

STRANGER = SigningKey.create()
Change = Callable[[ModelMessage], ModelMessage]


def message_for(shop: Any, serial: int = 1, **changes: Any) -> ModelMessage:
    return a_message(
        shop.key, serial, **{"catalogue_version": shop.store.catalogue.version, **changes}
    )


def code(shop: Any, records: RecordDict) -> str:
    reply = Reply.from_records(shop.send(records, MODEL).content)
    assert (reply.arrays, reply.head) == ({}, None)
    return reply.code


def held(shop: Any) -> HeldModel:
    found = ModelStore(shop.folder).current()
    assert found is not None
    return found


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def serving(shop: Any) -> Any:
    """A shop that serves promotion 5."""
    assert code(shop, message_for(shop, 5, seed=4).to_records()) == OK
    return shop


def refused(shop: Any, expected: str, records: RecordDict) -> None:
    """Nothing changes but one row of the ledger."""
    models, rows = on_disk(shop.folder / "models"), len(shop.rows("refuse"))
    assert code(shop, records) == expected
    assert on_disk(shop.folder / "models") == models
    assert held(shop).serial == 5
    (row,) = shop.rows("refuse")[rows:]
    assert row.body["code"] == expected


def test_what_is_by_the_rules_is_served(serving: Any) -> None:
    assert (held(serving).serial, held(serving).version) == (5, "0005-1a2b3c4d")
    expected = a_model(seed=4).arrays()
    for name, array in held(serving).model.arrays().items():
        np.testing.assert_array_equal(array, expected[name])
    assert serving.kinds() == ["open"]  # it costs nothing, and says nothing of anybody
    assert code(serving, message_for(serving, 6, seed=1).to_records()) == OK
    assert held(serving).serial == 6


def test_sent_again_it_is_ok_and_nothing_is_written(serving: Any) -> None:
    before = on_disk(serving.folder)
    assert code(serving, message_for(serving, 5, seed=4).to_records()) == OK
    assert {path: data for path, data in on_disk(serving.folder).items() if "models" in path} == {
        path: data for path, data in before.items() if "models" in path
    }


SPOILT: dict[str, Callable[[Path], object]] = {
    "no log": lambda folder: (folder / EVENTS).unlink(),
    "no Parquet": lambda folder: (folder / EVENTS).write_bytes(b"PAR1"),
    "sealed without a key": lambda folder: (folder / EVENTS).rename(folder / f"{EVENTS}{SEALED}"),
    "what cannot be pruned": lambda folder: (
        (folder / CLIENT_TOML).write_text(
            f"retention_days = 1\n{(folder / CLIENT_TOML).read_text()}"
        )
        and (folder / REJECTED).mkdir()
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_shop_whose_log_cannot_be_used_is_sent_models(serving: Any, name: str) -> None:
    """They are not made of its data, and nothing is read or deleted for them."""
    message, task = message_for(serving, 6, seed=1), serving.task(0)
    SPOILT[name](serving.folder)
    before = on_disk(serving.folder)
    assert code(serving, message.to_records()) == OK
    assert held(serving).serial == 6
    changed = {p for p, data in on_disk(serving.folder).items() if before.get(p) != data}
    assert {Path(path).relative_to(serving.folder).parts[0] for path in changed} == {"models"}
    assert serving.ask(task).code == Code.CLIENT_UNREADY


def test_a_catalogue_that_cannot_be_read_is_not_told_from_other_data(serving: Any) -> None:
    message = message_for(serving, 6)
    (serving.folder / serving.store.settings.catalogue).write_text("{")
    assert code(serving, message.to_records()) == Code.CLIENT_UNREADY


def array(name: str, change: Callable[[Any], Any]) -> Change:
    """An array changed by the server itself, whose hash and signature fit."""

    def changed(message: ModelMessage) -> ModelMessage:
        return with_arrays(message, {**message.arrays, name: change(message.arrays[name].copy())})

    return changed


def with_arrays(message: ModelMessage, arrays: dict[str, Any]) -> ModelMessage:
    about = manifest_of(arrays, message.manifest.catalogue_version)
    return replace(message, arrays=arrays, manifest=about)


def put(value: float) -> Callable[[Any], Any]:
    def change(found: Any) -> Any:
        found.flat[0] = value
        return found

    return change


def manifest(**changes: Any) -> Change:
    return lambda m: replace(m, manifest=m.manifest.model_copy(update=changes))


SIGNED: dict[str, tuple[Change, Code]] = {
    "an older serial": (lambda m: replace(m, serial=4), Code.MODEL_STALE),
    "the same serial, another version": (lambda m: replace(m, serial=5), Code.MODEL_STALE),
    "another catalogue": (manifest(catalogue_version="d" * 64), Code.ARTIFACT_CATALOGUE),
    "not private": (manifest(private=False), Code.MODEL_NOT_PRIVATE),
    "a checkpoint": (manifest(kind="checkpoint"), Code.ARTIFACT_INVALID),
    "settings of another model": (manifest(settings={"depth": 3}), Code.ARTIFACT_INVALID),
    "settings without bounds": (manifest(settings={"regularisation": 0}), Code.ARTIFACT_INVALID),
    "the hash of other arrays": (manifest(sha256="0" * 64), Code.ARTIFACT_INVALID),
    "inf": (array("item_embeddings", put(np.inf)), Code.INBOUND_ARRAY),
    "nan": (array("item_bias", put(np.nan)), Code.INBOUND_ARRAY),
    "huge numbers": (array("item_embeddings", put(1e30)), Code.INBOUND_ARRAY),
    "no popularity": (array("popularity", put(0)), Code.INBOUND_ARRAY),
    "a negative weight": (array("item_weight", put(-1)), Code.INBOUND_ARRAY),
    "float64": (array("item_embeddings", lambda a: a.astype(np.float64)), Code.INBOUND_ARRAY),
    "the other byte order": (array("item_bias", lambda a: a.astype(">f4")), Code.INBOUND_ARRAY),
    "an item less": (array("item_embeddings", lambda a: a[:-1]), Code.INBOUND_ARRAY),
    "no columns": (array("item_embeddings", lambda a: a[:, :0]), Code.INBOUND_ARRAY),
    "vectors too long to work with": (
        array("item_embeddings", lambda a: np.zeros((60, 513), np.float32)),
        Code.INBOUND_ARRAY,
    ),
    "one axis": (array("item_embeddings", lambda a: a.ravel()), Code.INBOUND_ARRAY),
    "a bias for each coordinate": (array("item_bias", lambda a: a[:, None]), Code.INBOUND_ARRAY),
    "an array more": (
        lambda m: with_arrays(m, {**m.arrays, "user_vectors": np.ones((60, 4), np.float32)}),
        Code.INBOUND_ARRAY,
    ),
    "an array less": (
        lambda m: with_arrays(m, {n: a for n, a in m.arrays.items() if n != "popularity"}),
        Code.INBOUND_ARRAY,
    ),
    "no arrays": (lambda m: with_arrays(m, {}), Code.INBOUND_ARRAY),
    "a noise variance that is none": (
        lambda m: with_arrays(m, {**m.arrays, "noise_variance": -np.ones(60, np.float32)}),
        Code.ARTIFACT_INVALID,
    ),
}


@pytest.mark.parametrize("name", SIGNED)
def test_a_listed_server_that_sends_what_is_not_safe_changes_nothing(
    serving: Any, name: str
) -> None:
    change, expected = SIGNED[name]
    message = change(message_for(serving, 6, seed=1)).signed(serving.key)
    refused(serving, expected, message.to_records())


def test_a_model_with_its_noise_variance_is_taken(serving: Any) -> None:
    arrays = {**a_model().arrays(), "noise_variance": np.full(60, 0.25, np.float32)}
    message = with_arrays(message_for(serving, 6), arrays).signed(serving.key)
    assert code(serving, message.to_records()) == OK
    assert held(serving).model.noise_variance is not None


def drift(shop: Any, settings: dict[str, Any] | None = None, **arrays: Any) -> ModelMessage:
    """Promotion 6, a model of another kind."""
    model = a_drift(len(shop.store.catalogue))
    version = shop.store.catalogue.version
    about = {} if settings is None else {"settings": settings}
    message = a_message_of(model, shop.key, 6, version, **about)
    content = {**message.arrays, **arrays}
    sha256 = manifest_of(content).sha256
    manifest = message.manifest.model_copy(update={"sha256": sha256})
    return replace(message, arrays=content, manifest=manifest).signed(shop.key)


def test_a_model_of_another_kind_is_taken_as_it_is(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_drift(monkeypatch)
    assert code(serving, drift(serving).to_records()) == OK
    found = held(serving)
    assert (found.manifest.model, found.model.kind) == (NAME, NAME)
    for name, values in drift(serving).arrays.items():
        np.testing.assert_array_equal(found.model.arrays()[name], values)


def test_a_kind_that_is_not_known_here_is_refused_and_the_old_model_stays(serving: Any) -> None:
    refused(serving, Code.MODEL_KIND, drift(serving).to_records())


WRONG: dict[str, tuple[dict[str, Any], Code]] = {
    "settings of mf": ({"settings": {"regularisation": 0.1}}, Code.ARTIFACT_INVALID),
    "settings for other arrays": ({"settings": {"width": 4}}, Code.INBOUND_ARRAY),
    "an array of mf": ({"item_bias": np.zeros(60, np.float32)}, Code.INBOUND_ARRAY),
    "a dense array of another shape": ({"turn": np.eye(4, dtype=np.float32)}, Code.INBOUND_ARRAY),
    "a dense array that is not finite": (
        {"turn": np.full((3, 3), np.nan, np.float32)},
        Code.INBOUND_ARRAY,
    ),
    "vectors too wide to serve": ({"settings": {"width": 5000}}, Code.INBOUND_ARRAY),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_kind_is_held_to_what_it_demands(
    serving: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    know_drift(monkeypatch)
    changes, expected = WRONG[name]
    refused(serving, expected, drift(serving, **changes).to_records())


def test_what_no_service_could_work_with_is_refused_whatever_its_kind_says(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_drift(monkeypatch)
    for limit in ("_WIDEST", "_LARGEST", "_MOST_ARRAYS"):
        with monkeypatch.context() as patch:
            patch.setattr(f"client.guard.sent_model.{limit}", 2)
            refused(serving, Code.INBOUND_ARRAY, drift(serving).to_records())


def test_a_version_that_an_upgraded_client_took_is_not_served_after_a_downgrade(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        know_drift(patch)
        assert code(serving, drift(serving).to_records()) == OK
    with pytest.raises(ArtifactError) as caught:
        held(serving)
    assert caught.value.code is Code.MODEL_KIND
    (found,) = check_model(Patient(serving.folder, datetime.now(UTC)))
    assert (found.level, found.code) == ("fail", Code.MODEL_KIND)


def test_the_doctor_says_which_model_is_served(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Patient(serving.folder, datetime.now(UTC))
    (found,) = check_model(patient)
    assert (found.level, "of kind mf" in found.what) == ("ok", True)
    know_drift(monkeypatch)
    assert code(serving, drift(serving).to_records()) == OK
    serving.allow(serving="shop")
    said = [one.what for one in check_model(Patient(serving.folder, datetime.now(UTC)))]
    assert [NAME in one for one in said] == [True, True]
    assert "no refit" in said[1]


UNSIGNED: dict[str, Change] = {
    "a stranger's": lambda m: m.signed(STRANGER),
    "a stranger's in the server's name": lambda m: replace(m.signed(STRANGER), server=m.server),
    "not signed": lambda m: replace(m, signature="0" * 128),
    "a later number under an old signature": lambda m: replace(m, serial=7),
    "another version's name": lambda m: replace(m, version="0009-ffffffff"),
    "one number changed": lambda m: replace(
        m, arrays={**m.arrays, "item_bias": m.arrays["item_bias"] + np.float32(0.5)}
    ),
    "a promise changed": manifest(privacy={"epsilon": 0.1}),
    "signed for another purpose": lambda m: replace(
        m, signature=SigningKey.create().sign("task", {"request": m.digest})
    ),
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_no_listed_server_signed_changes_nothing(serving: Any, name: str) -> None:
    message = UNSIGNED[name](message_for(serving, 6, seed=1))
    refused(serving, Code.POLICY_SERVER, message.to_records())


def test_an_empty_list_names_no_server(serving: Any) -> None:
    """Jobs of whoever reaches this client may be priced; a model is somebody's word."""
    serving.allow(servers=())
    refused(serving, Code.POLICY_SERVER, message_for(serving, 6).to_records())


def test_a_second_server_of_the_list_counts_for_itself(serving: Any) -> None:
    serving.allow(servers=(serving.key.public, STRANGER.public))
    message = message_for(serving, 1, seed=1).signed(STRANGER)
    assert code(serving, message.to_records()) == OK
    assert held(serving).serial == 1
    assert code(serving, message_for(serving, 5, seed=1).to_records()) == Code.MODEL_STALE


def test_a_message_that_is_too_large_is_not_looked_at(serving: Any) -> None:
    serving.allow(max_message_bytes=1000)
    refused(serving, Code.POLICY_MESSAGE, message_for(serving, 6).to_records())


GARBAGE: dict[str, Callable[[RecordDict], None]] = {
    "nothing": lambda r: [r.pop(name) for name in list(r)] and None,
    "no arrays": lambda r: r.__setitem__("arrays", ConfigRecord()),
    "a serial of text": lambda r: r["model"].__setitem__("serial", "6"),  # type: ignore[index,union-attr]
    "a path for a version": lambda r: r["model"].__setitem__("version", "../../x"),  # type: ignore[index,union-attr]
    "no manifest": lambda r: r["model"].__setitem__("manifest", "["),  # type: ignore[index,union-attr]
    "a pickle": lambda r: r.__setitem__(
        "arrays",
        ArrayRecord({"item_bias": Array("object", (1,), "numpy.ndarray", b"\x80\x04].")}),
    ),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_changes_nothing(serving: Any, name: str) -> None:
    records = message_for(serving, 6).to_records()
    GARBAGE[name](records)
    refused(serving, Code.PROTOCOL_INVALID, records)


def test_sent_again_and_again_an_old_model_does_not_fill_the_ledger(serving: Any) -> None:
    old = message_for(serving, 4).to_records()
    for _ in range(MOST_OF_STRANGERS + 3):
        assert code(serving, old) == Code.MODEL_STALE
    assert len(serving.rows("refuse")) == MOST_OF_STRANGERS


def test_an_owner_who_said_no_privacy_is_sent_what_has_none(serving: Any) -> None:
    path = serving.folder / CLIENT_TOML
    path.write_text(f"no_privacy = true\n{path.read_text()}")
    message = message_for(serving, 6, private=False)
    assert code(serving, message.to_records()) == OK
    assert not held(serving).manifest.private


def test_damage_is_not_hidden_and_is_repaired_by_the_next_delivery(serving: Any) -> None:
    (arrays,) = (serving.folder / "models").rglob("arrays.safetensors")
    arrays.write_bytes(b"x")
    assert code(serving, message_for(serving, 5, seed=4).to_records()) == OK
    assert held(serving).serial == 5
