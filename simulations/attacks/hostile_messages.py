"""Messages that are no honest task: garbage, poisoned arrays, too large, receipts that lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey
from common.protocol import Task

__all__ = ["BOMBS", "POISONS", "TINY", "forged_receipt", "garbage", "huge"]

_TIME: Final = "2030-01-01T00:00:00.000+00:00"
Poison: TypeAlias = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""Spoils an array."""


def _entry(value: float) -> Poison:
    def put(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        spoilt = array.copy()
        spoilt.flat[int(rng.integers(spoilt.size))] = value
        return spoilt

    return put


POISONS: Final[tuple[Poison, ...]] = (
    _entry(np.nan),
    _entry(np.inf),
    _entry(-np.inf),
    _entry(3e38),
    _entry(-1e30),
    lambda array, _: np.full_like(array, np.nan),
    lambda array, _: np.zeros((0, *array.shape[1:]), array.dtype),
    lambda array, _: array[..., :-1].copy(),
    lambda array, _: array.ravel()[None].copy(),
    lambda array, _: np.concatenate([array, array]),
    lambda array, _: array.astype(np.float64),
    lambda array, _: array.astype(np.float16),
    lambda array, _: array.astype(">f4"),
    lambda array, _: array.astype(np.int64),
    lambda array, _: array.astype(np.complex64),
    lambda *_: np.array(["user-1"] * 3),
    lambda *_: np.array(7.0, np.float32),
    lambda array, _: array.astype("M8[s]"),
)
"""Ways to spoil an array that the client expects."""

TINY: Final[Poison] = _entry(1e-42)
"""Spoils an orthonormal array; anywhere else it is a number like any other."""

_NPY: Final = b"\x93NUMPY\x01\x00"


def _header(text: str) -> bytes:
    padded = text + " " * (64 - (len(text) + 11) % 64) + "\n"
    return _NPY + len(padded).to_bytes(2, "little") + padded.encode()


BOMBS: Final[tuple[bytes, ...]] = (
    b"",
    b"\0" * 64,
    _NPY,
    _header("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"),
    _header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"),
    _header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + b"\x80\x04N.",
    _header("{'descr': '<f4', 'fortran_order': False, 'shape': (60, 3), }") + b"\0" * 4,
    _header("__import__('os').abort()"),
    _header("{'descr': [('a', '<f4')], 'fortran_order': True, 'shape': (1,), }") + b"\0" * 4,
    b"\x80\x04cos\nabort\n(tR.",
)
"""Bytes that say that they are an array."""


def garbage(task: Task, rng: np.random.Generator) -> RecordDict:
    """Records of the wrong kind, number or content."""
    records = task.to_records()
    header, inputs = records.config_records["task"], records.array_records["inputs"]
    choices: tuple[Mapping[str, Any], ...] = (
        {},
        {"task": header},
        {"inputs": inputs},
        {"task": inputs, "inputs": inputs},
        {"task": header, "inputs": header},
        {"task": MetricRecord({"job": 1.0}), "inputs": inputs},
        {"task": ConfigRecord({**header, "step": "0"}), "inputs": inputs},
        {"task": ConfigRecord({**header, "step": -1}), "inputs": inputs},
        {"task": ConfigRecord({**header, "step": 2**62}), "inputs": inputs},
        {"task": ConfigRecord({**header, "session": -5}), "inputs": inputs},
        {"task": ConfigRecord({**header, "job": "{" * 5000}), "inputs": inputs},
        {"task": ConfigRecord({**header, "job": "[]"}), "inputs": inputs},
        {"task": ConfigRecord({**header, "job": "null"}), "inputs": inputs},
        {"task": ConfigRecord({**header, "job": b"{}"}), "inputs": inputs},
        {"task": ConfigRecord({**header, "job": "\ud800" * 100}), "inputs": inputs},
        {"task": ConfigRecord({**header, "job": _text(rng, 2000)}), "inputs": inputs},
        {"task": ConfigRecord({**header, "job": "a" * 65_000}), "inputs": inputs},
        {"task": ConfigRecord({**header, "receipt": _text(rng, 900)}), "inputs": inputs},
        {"task": ConfigRecord({**header, "receipt": "x" * 5000}), "inputs": inputs},
        {"task": ConfigRecord({**header, "signature": _text(rng, 128)}), "inputs": inputs},
    )
    return RecordDict(dict(choices[int(rng.integers(len(choices)))]))


def huge(task: Task, largest: int, rng: np.random.Generator) -> RecordDict:
    """A message that is larger than the client looks at, in one way or another."""
    records, size = task.to_records(), largest + int(rng.integers(1, 1000))
    where = int(rng.integers(4))
    if where == 0:
        data = Array("float32", (size // 4,), "numpy.ndarray", b"\0" * size)
        records["inputs"] = ArrayRecord({"basis": data})
    elif where == 1:
        records["task"] = ConfigRecord({**records.config_records["task"], "job": "x" * size})
    elif where == 2:
        records["more"] = ConfigRecord({"bytes": b"\0" * size})
    else:
        records["numbers"] = MetricRecord({"list": [0.0] * (size // 8 + 1)})
    return records


def forged_receipt(head: SignedHead, server: SigningKey, rng: np.random.Generator) -> Receipt:
    """A receipt that would stop the client, or make it believe something, were it true."""
    stranger, late = SigningKey.create(), head.seq + int(rng.integers(1, 10**6))
    honest = Receipt.sign(server, head, _TIME)
    strange = SignedHead.sign(stranger, head.client, late, "ab" * 32)
    choices = (
        Receipt.sign(server, strange, _TIME),
        Receipt.sign(server, strange.model_copy(update={"key": head.key}), _TIME),
        Receipt.sign(server, head.model_copy(update={"seq": late}), _TIME),
        Receipt.sign(server, head.model_copy(update={"hash": "cd" * 32}), _TIME),
        Receipt.sign(server, head.model_copy(update={"client": "somebody"}), _TIME),
        Receipt.sign(stranger, head, _TIME),
        honest.model_copy(update={"time": "2031-01-01T00:00:00.000+00:00"}),
        honest.model_copy(update={"server": stranger.public}),
    )
    return choices[int(rng.integers(len(choices)))]


def _text(rng: np.random.Generator, length: int) -> str:
    return "".join(map(chr, rng.integers(32, 0x2FF, length)))
