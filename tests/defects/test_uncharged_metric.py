"""Defect: a loss, a count or a hit rate leaves without a mechanism, or without its charge."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from client import app, training
from client.ledger_store import LedgerStore
from common.artifacts import arrays_to_bytes
from common.errors import LedgerError
from common.privacy.events import GaussianSumEvent, event_of, read_event
from common.privacy.mechanisms import GaussianSum
from common.protocol import HELLO, OK, STEP, Hello, Reply
from common.solvers.base import ArraySpec, Step
from tests.defects.support import EVALUATION_ROWS, JOBS, task_for

Defect = Callable[[pytest.MonkeyPatch], None]


def check(shop: Any) -> None:
    """All that leaves in a job is a code, public facts, and numbers that the ledger charged."""
    assert_hello_is_public(shop)
    for index, planned in enumerate(shop.schedule.plan.releases):
        reply = assert_only_a_reply(shop.send(task_for(shop, index).to_records(), STEP))
        reserved, spent = assert_ledger(shop, "reserve"), assert_ledger(shop, "spend")
        assert len(reserved) == len(spent) == index + 1, "a release without its charge"
        event = read_event(reserved[-1].body["event"])
        assert event == event_of(planned), "charged for another release"
        assert spent[-1].body["reservation"] == reserved[-1].seq, "charged for another release"
        assert reply.head is not None
        assert reply.head.hash == spent[-1].hash, "a head that says something else"
        sent = hashlib.sha256(arrays_to_bytes(reply.arrays)).hexdigest()
        assert spent[-1].body["release_sha256"] == sent, "other bytes than those charged for"
        values = sum(array.size for array in reply.arrays.values())
        assert values <= event.rows * event.width, f"{values} numbers, fewer charged"


def assert_only_a_reply(message: Message) -> Reply:
    """Records and keys are those of the protocol's reply, and text is all but the arrays."""
    reply = Reply.from_records(message.content)
    if reply.code != OK:
        raise RuntimeError(reply.code)
    assert keys(message.content) == keys(reply.to_records()), "a field of its own"
    assert not [
        value
        for record in message.content.values()
        if not isinstance(record, ArrayRecord)
        for value in record.values()
        if not isinstance(value, str)
    ], "a number beside the release"
    return reply


def assert_hello_is_public(shop: Any) -> None:
    """What a client says of itself is what its owner wrote into its settings."""
    message = shop.send(RecordDict(), HELLO)
    hello, settings = Hello.from_records(message.content), shop.store.settings
    assert keys(message.content) == keys(hello.to_records()), "a field of its own"
    declared = (settings.name, settings.population, shop.store.catalogue.version)
    assert (hello.client, hello.population, hello.catalogue_version) == declared, "a count"


def assert_ledger(shop: Any, kind: str) -> list[Any]:
    """Rows of a ledger whose chain holds: none spends what was not reserved."""
    try:
        return list(shop.rows(kind))
    except LedgerError as error:
        raise AssertionError("a release without its charge") from error


def keys(records: RecordDict) -> dict[str, set[str]]:
    return {name: set(record) for name, record in records.items()}


@pytest.mark.parametrize("solver", JOBS)
def test_all_that_leaves_is_charged(client_of: Callable[..., Any], solver: str) -> None:
    check(client_of(solver))


def _count(arrays: Mapping[str, Any]) -> Any:
    """Stands for any metric: a number that no mechanism made."""
    return np.full(1, 48.0, np.float32)


def array_beside_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release gate lets one array more through."""
    gate = training.declared

    def wider(arrays: Any, specs: Any) -> Any:
        return {**gate(arrays, specs), "loss": _count(arrays)}

    monkeypatch.setattr(training, "declared", wider)


def array_that_the_step_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, with the step's blessing: only the ledger knows that nobody paid."""
    outputs, gate = Step.outputs.fget, training.declared
    assert outputs is not None
    loss = {"loss": ArraySpec((1,))}
    monkeypatch.setattr(Step, "outputs", property(lambda step: {**outputs(step), **loss}))
    monkeypatch.setattr(
        training, "declared", lambda arrays, specs: gate({**arrays, "loss": _count(arrays)}, specs)
    )


def metric_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's own way to report: a record of metrics beside the arrays."""
    answer = app.answer

    def reporting(*args: Any) -> Message:
        message = answer(*args)
        message.content["metrics"] = MetricRecord({"loss": 0.25, "num-examples": 48})
        return message

    monkeypatch.setattr(app, "answer", reporting)


def number_in_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count beside the code."""
    answer = app.answer

    def reporting(*args: Any) -> Message:
        message = answer(*args)
        header = message.content["reply"]
        assert isinstance(header, ConfigRecord)
        header["users"] = 48
        return message

    monkeypatch.setattr(app, "answer", reporting)


def count_in_the_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    """The population that a client gives is counted."""
    hello = app.answer_hello

    def counting(message: Message, settings: Any, *args: Any) -> Message:
        counted = {"population": settings.population - 1}
        return hello(message, settings.model_copy(update=counted), *args)

    monkeypatch.setattr(app, "answer_hello", counting)


def no_reservation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics are only looked at, so nobody reserves anything for them."""
    append = LedgerStore.append

    def forgetting(self: LedgerStore, kind: Any, body: Mapping[str, Any]) -> Any:
        if kind == "reserve" and body["event"]["rows"] == EVALUATION_ROWS:
            return self.rows("reserve")[-1]
        return append(self, kind, body)

    monkeypatch.setattr(LedgerStore, "append", forgetting)


def smaller_charge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three metrics for the price of one."""
    event = GaussianSum.event.fget
    assert event is not None

    def cheap(self: GaussianSum) -> GaussianSumEvent:
        found = event(self)
        metrics = found.rows == EVALUATION_ROWS
        return found.model_copy(update={"rows": 1}) if metrics else found

    monkeypatch.setattr(GaussianSum, "event", property(cheap))


def bytes_after_the_charge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release is put in order once more on its way out."""
    answer = app.answer

    def rounding(task: Message, reply: Reply) -> Message:
        exact = {name: np.rint(array) for name, array in reply.arrays.items()}
        return answer(task, Reply(reply.code, exact, reply.head))

    monkeypatch.setattr(app, "answer", rounding)


DEFECTS: dict[Defect, str] = {
    array_beside_the_sum: "numbers, fewer charged",
    array_that_the_step_declares: "numbers, fewer charged",
    metric_record: "a field of its own",
    number_in_the_header: "a field of its own",
    count_in_the_hello: "a count",
    no_reservation: "a release without its charge",
    smaller_charge: "charged for another release",
    bytes_after_the_charge: "other bytes",
}


@pytest.mark.parametrize("solver", ["subspace", "dpsgd"])
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: d.__name__)
def test_an_uncharged_metric_is_found(
    client_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, solver: str, defect: Defect
) -> None:
    defect(monkeypatch)
    with pytest.raises(AssertionError, match=DEFECTS[defect]):
        check(client_of(solver))
