"""States are read by another process, and shown to nobody."""

import json

import numpy as np
import pytest

from common.errors import ConfigError
from common.secure_sum.states import Agreed, Dealt, Masking, Offered

CONTEXT = "ab" * 32


@pytest.fixture
def states(session):
    federation = session(3, 3)
    federation.until_revealed({name: np.arange(4, dtype=np.uint32) for name in "abc"})
    return (
        federation.offered["b"],
        federation.dealt["b"],
        federation.masking["b"],
        federation.agreed["b"],
    )


def test_states_come_back_as_they_were(states):
    for state in states:
        assert type(state).load(json.loads(state.model_dump_json())) == state


def test_no_text_form_shows_a_secret(states):
    offered, dealt, masking, _ = states
    hidden = {
        *(offered.sharing, offered.masking),
        *(dealt.seed, dealt.seed_share, dealt.key_share, *dealt.opening.values()),
        *(*masking.adds, *masking.subtracts, *masking.seeds.values(), *masking.keys.values()),
    }
    assert len(hidden) == 5 + 2 + 3 + 6 - 2  # the own shares are in two states
    for state in states:
        shown = f"{state!r} {state}"
        assert not any(secret in shown for secret in hidden)


@pytest.mark.parametrize("kind", [Offered, Dealt, Masking, Agreed])
def test_states_hold_nothing_else(kind):
    with pytest.raises(ConfigError):
        kind.load({"context": CONTEXT, "more": 1})


@pytest.mark.parametrize("kind", [np.uint32, np.uint64], ids=["32", "64"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (0, 3)], ids=str)
def test_masked_words_are_a_new_array(states, kind, shape):
    words = np.ones(shape, dtype=kind)
    masked = states[2].apply(words)
    assert masked.shape == shape
    assert masked.dtype == kind
    assert (words == 1).all()
    assert words.size == 0 or (masked != words).any()
    np.testing.assert_array_equal(masked, states[2].apply(words))


def test_words_in_any_order_of_memory_are_masked_alike(states):
    words = np.arange(12, dtype=np.uint32).reshape(3, 4)
    masked = states[2].apply(words)
    np.testing.assert_array_equal(states[2].apply(np.asfortranarray(words)), masked)
    read_only = words.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(states[2].apply(read_only), masked)


def test_other_words_are_refused(states):
    with pytest.raises(ValueError, match="uint32 or uint64"):
        states[2].apply(np.zeros(3, dtype=np.int64))
