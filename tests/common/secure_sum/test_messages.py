"""Messages come from outside: nothing unknown in them, nothing of another form."""

import json

import pytest

from common.errors import ConfigError
from common.secure_sum.messages import (
    STAGES,
    Agreement,
    KeyOffer,
    Reveal,
    SealedShares,
    ShareOffer,
    SurvivorList,
)

GOOD = {
    KeyOffer: {
        "name": "a",
        "sharing_key": "0" * 64,
        "masking_key": "1" * 64,
        "signature": "2" * 128,
    },
    SealedShares: {"sender": "a", "recipient": "b", "sealed": "00"},
    ShareOffer: {"name": "a", "seed_digest": "0" * 64, "shares": []},
    SurvivorList: {"survivors": ["a", "b"]},
    Agreement: {"name": "a", "signature": "2" * 128},
    Reveal: {"name": "a", "seeds": {"a": "0" * 66}, "keys": {"b": "1" * 66}},
}
BAD = [
    (KeyOffer, "name", "a b"),
    (KeyOffer, "name", "a\n"),
    (KeyOffer, "sharing_key", "0" * 63),
    (KeyOffer, "masking_key", "G" * 64),
    (KeyOffer, "signature", ""),
    (SealedShares, "sealed", "0" * 514),
    (SealedShares, "recipient", "../b"),
    (ShareOffer, "seed_digest", "0"),
    (SurvivorList, "survivors", [""]),
    (SurvivorList, "survivors", ["a"] * 10_001),
    (Reveal, "seeds", {"a": "0" * 64}),
    (Reveal, "keys", {"a b": "0" * 66}),
]


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_messages_come_back_as_they_were_and_hold_nothing_else(kind):
    message = kind.load(GOOD[kind])
    assert kind.load(json.loads(message.model_dump_json())) == message
    with pytest.raises(ConfigError):
        kind.load({**GOOD[kind], "more": 1})


@pytest.mark.parametrize(("kind", "field", "value"), BAD, ids=range(len(BAD)))
def test_what_has_another_form_is_refused(kind, field, value):
    with pytest.raises(ConfigError):
        kind.load({**GOOD[kind], field: value})


def test_the_stages_in_order():
    assert STAGES == ("keys", "shares", "masked", "survivors", "reveal")
