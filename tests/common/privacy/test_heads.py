"""Signed heads and receipts: every field is under a signature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from common.errors import Code, LedgerError
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey

CLIENT, SERVER, OTHER = SigningKey.create(), SigningKey.create(), SigningKey.create()
HEAD = SignedHead.sign(CLIENT, "shop-1", 7, "ab" * 32)
RECEIPT = Receipt.sign(SERVER, HEAD, "2026-01-01T00:00:00.000+00:00")


def refused(signed: SignedHead | Receipt, *expected: str) -> None:
    with pytest.raises(LedgerError) as caught:
        signed.check(*expected)
    assert caught.value.code is Code.LEDGER_SIGNATURE


def test_a_head_and_a_receipt_hold() -> None:
    HEAD.check()
    HEAD.check(CLIENT.public)
    RECEIPT.check()
    RECEIPT.check(SERVER.public)


@pytest.mark.parametrize(
    "changes",
    [
        {"client": "shop-2"},
        {"seq": 8},
        {"hash": "ac" * 32},
        {"key": OTHER.public},
        {"signature": OTHER.sign("ledger head", HEAD.model_dump(exclude={"signature"}))},
        {"signature": "00" * 64},
    ],
)
def test_a_head_is_signed_as_a_whole(changes: dict[str, Any]) -> None:
    changed = HEAD.model_copy(update=changes)
    refused(changed)
    refused(Receipt.sign(SERVER, changed, RECEIPT.time))  # nor does a receipt make it good


def test_every_field_of_a_head_is_tried_above() -> None:
    assert set(SignedHead.model_fields) == {"client", "seq", "hash", "key", "signature"}
    assert set(Receipt.model_fields) == {"head", "server", "time", "signature"}


@pytest.mark.parametrize(
    "changes",
    [
        {"head": SignedHead.sign(CLIENT, "shop-1", 8, "ab" * 32)},
        {"server": OTHER.public},
        {"time": "2026-01-02T00:00:00.000+00:00"},
        {"signature": HEAD.signature},
    ],
)
def test_a_receipt_is_signed_as_a_whole(changes: dict[str, Any]) -> None:
    refused(RECEIPT.model_copy(update=changes))


def test_a_head_of_another_key_than_expected_is_refused() -> None:
    SignedHead.sign(OTHER, "shop-1", 7, "ab" * 32).check()
    refused(SignedHead.sign(OTHER, "shop-1", 7, "ab" * 32), CLIENT.public)
    refused(Receipt.sign(OTHER, HEAD, RECEIPT.time), SERVER.public)


def test_a_signature_under_a_head_is_none_under_a_receipt() -> None:
    """The label keeps the purposes apart, though one key signed both."""
    values = {"head": HEAD.model_dump(), "server": SERVER.public, "time": RECEIPT.time}
    forged = RECEIPT.model_copy(update={"signature": SERVER.sign("ledger head", values)})
    refused(forged)


def test_both_come_back_from_json_as_they_were() -> None:
    assert SignedHead.model_validate_json(HEAD.model_dump_json()) == HEAD
    again = Receipt.model_validate_json(RECEIPT.model_dump_json())
    assert again == RECEIPT
    again.check(SERVER.public)


def test_signing_again_gives_the_same_bytes() -> None:
    assert SignedHead.sign(CLIENT, "shop-1", 7, "ab" * 32) == HEAD
    assert Receipt.sign(SERVER, HEAD, RECEIPT.time) == RECEIPT


@pytest.mark.parametrize(
    "changes",
    [
        {"client": ""},
        {"client": "a b"},
        {"client": "x" * 65},
        {"seq": -1},
        {"seq": 1 << 63},
        {"hash": "AB" * 32},
        {"key": "ab"},
        {"signature": "ab"},
        {"more": 1},
    ],
)
def test_what_is_no_head_is_not_read(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SignedHead.model_validate({**HEAD.model_dump(), **changes})


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+00:00",
        "2026-12-31T23:59:59.9Z",
        "2026-02-28T12:30:00.123456+00:00",
        datetime(2026, 5, 6, 7, 8, 9, 10_000, UTC).isoformat(timespec="milliseconds"),
    ],
)
def test_a_receipt_says_its_time_in_utc(time: str) -> None:
    receipt = Receipt.sign(SERVER, HEAD, time)
    receipt.check(SERVER.public)
    assert datetime.fromisoformat(receipt.time).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "time",
    [
        "",
        "now",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+01:00",
        "2026-01-01T00:00:00-00:00",
        "2026-01-01 00:00:00+00:00",
        "2026-01-01T00:00+00:00",
        "2026-13-01T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567Z",
        "2026-01-01T00:00:00Z\n",
        " 2026-01-01T00:00:00Z",
        "٢٠٢٦-٠١-٠١T00:00:00Z",
        "<b>2026-01-01T00:00:00Z</b>",
    ],
)
def test_a_receipt_says_nothing_else_for_its_time(time: str) -> None:
    with pytest.raises(ValidationError):
        Receipt.sign(SERVER, HEAD, time)
    with pytest.raises(ValidationError):
        Receipt.model_validate({**RECEIPT.model_dump(), "time": time})
