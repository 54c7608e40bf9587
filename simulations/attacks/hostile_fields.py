"""What a hostile server may write into a job, by what it tries: one changed field, or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from simulations.attacks.hostile_server import SMALL

__all__ = ["CHANGES", "RAW", "Change"]

Change: TypeAlias = Callable[[np.random.Generator], Mapping[str, Any]]
"""Draws the fields that replace those of an honest job."""


_SETTINGS: Final[tuple[tuple[str, str, tuple[Any, ...]], ...]] = (
    ("subspace", "rounds", (0, -1, 2, 40, 101, 10**9, 2**70, "1", 1.5)),
    ("subspace", "embedding_dim", (0, 1, 2, 512, 513, 10**9)),
    ("subspace", "regularisation", (0.0, -1.0, 1e-300, 1e-6, 1e6, 1e300, "1")),
    ("subspace", "unobserved_weight", (0.0, 1e-12, 1e3, 1e300)),
    ("subspace", "popularity_share", (0.0, 1e-9, 1e-4, 0.99, 1.0, 2.0)),
    ("subspace", "spectrum_floor", (0.0, 1e-12, 1e12)),
    ("subspace", "noise_multiplier", (0.0,)),
    ("dpsgd", "clip_norm", (0.0, -1.0, 1e-300, 1e-6, 1e6, 1e300)),
    ("dpsgd", "learning_rate", (0.0, 1e-6, 1e6, 1e300)),
    ("dpsgd", "local_steps", (0, 1, 20, 10**5)),
    ("dpsgd", "sampling_rate", (0.0, -0.1, 1e-9, 0.01, 1.5)),
    ("dpsgd", "sampler", ("fast", "none", "gaussian", "")),
    ("dpsgd", "negatives", (-1, 0, 10**7, 10**8)),
    ("transitions", "decays", ((), (2.0,), (0.0,), (0.5,) * 9, (0.8, 0.8), "0.5")),
    ("transitions", "next_share", (0.0, 1e-9, 1e-3, 0.999, 1.0)),
    ("transitions", "length", (0, 1, 200, 10**6)),
    ("transitions", "popularity_exponent", (-1.0, 1e300)),
    ("sequential", "clip_norm", (0.0, -1.0, 1e-300, 1e-6, 1e6, 1e300)),
    ("sequential", "length", (0, 2, 64, 10**6)),
    ("sequential", "blocks", (0, 2, 10**6)),
    ("sequential", "heads", (0, 2, 3, 10**6)),
    ("sequential", "network", ("gru", "transformer", "os:system")),
    ("sequential", "sampling_rate", (0.0, -0.1, 1e-9, 0.01, 1.5)),
    ("sequential", "dropout", (0.5, 1.0, "1")),
    ("neural", "feature_width", (-1, 0, 40, 2048, 10**7)),
    ("neural", "personal_steps", (-1, 3, 10**6)),
    ("neural", "personal_rate", (0.0, 1e3, 1e300)),
    ("neural", "head", (-1, 0, 256, 10**6)),
    ("neural", "loss", ("explicit", "private")),
    ("neural", "pooling", ("ridge", "max", "os:system")),
    ("neural", "rating_scale", (0.0, 1e-6, 1e300)),
    ("neural", "negatives", (-1, 0, 10**7, 10**8)),
    ("neural", "local_steps", (0, 2, 10**5)),
    ("popularity", "unheard_of", (1,)),
    ("popularity", "clip_norm", (100.0,)),
)


def _settings(rng: np.random.Generator) -> Mapping[str, Any]:
    """A setting of a solver, far out or just outside."""
    solver, name, values = _one(rng, _SETTINGS)
    return {"solver": solver, "settings": {**SMALL[solver], name: _one(rng, values)}}


def _sampled(rng: np.random.Generator, solver: str) -> Mapping[str, Any]:
    """A solver of which a client takes many steps, each with a part of its users."""
    many = {
        "local_steps": int(rng.integers(1, 30)),
        "sampling_rate": float(rng.uniform(0.05, 0.95)),
    }
    return {"solver": solver, "settings": {**SMALL[solver], **many}}


def _population(rng: np.random.Generator) -> Mapping[str, Any]:
    ways: list[Mapping[str, Any]] = [
        {"population": 1},
        {"population": 10**12},
        {"population": int(rng.integers(1, 50))},
        {"clients": 1, "signal": 1e-12},
        {"clients": 10**6, "signal": 1e12},
    ]
    return ways[int(rng.integers(len(ways)))]


def _one(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


CHANGES: Final[Mapping[str, Change]] = {
    "bigger ε": lambda rng: {"epsilon": float(10 ** rng.uniform(0.6, _one(rng, [1, 1.5, 3, 300])))},
    "smaller δ": lambda rng: {"delta": float(10 ** -rng.uniform(5, _one(rng, [7, 9, 30, 320])))},
    "bigger δ": lambda rng: {"delta": float(10 ** -rng.uniform(0, 5))},
    "no δ, no ε": lambda rng: _one(
        rng, [{"delta": 0.0}, {"epsilon": 0.0}, {"epsilon": -1.0}, {"epsilon": None}]
    ),
    "more rounds": lambda rng: {
        "solver": "subspace",
        "settings": {"rounds": int(rng.integers(3, 60)), "embedding_dim": 3},
        "epsilon": float(rng.uniform(0.5, 8)),
    },
    "another unit": lambda _: {"unit": "interaction"},
    "mode none": lambda rng: _one(
        rng, [{"mode": "none", "epsilon": None, "delta": 0.0}, {"mode": "none"}]
    ),
    "another solver": lambda rng: {
        "solver": _one(rng, ["ials", "os:system", "SUBSPACE", "leaky", "x" * 64]),
        "settings": {},
    },
    "settings": _settings,
    "sampling": lambda rng: {
        **_sampled(rng, _one(rng, ["dpsgd", "dpsgd", "sequential", "neural"])),
        "renyi_order": int(rng.integers(20, 400)),
        "epsilon": float(rng.uniform(0.5, 3)),
    },
    "evaluation share": lambda rng: {"evaluation_share": float(rng.uniform(0, 1))},
    "Rényi order": lambda rng: {"renyi_order": int(_one(rng, [2, 3, 8, 64, 512, 1024]))},
    "population": _population,
    "another catalogue": lambda rng: _one(
        rng, [{"n_items": 10}, {"n_items": 10**7}, {"catalogue_version": "0" * 64}]
    ),
}
"""Jobs that differ from an honest one in what the key says."""

RAW: Final[tuple[tuple[str, str], ...]] = (
    ('"unit":"user"', '"unit":"person"'),
    ('"unit":"user"', '"unit":"USER"'),
    ('"unit":"user"', '"unit":"user "'),
    ('"unit":"user"', '"unit":null'),
    ('"unit":"user"', '"unit":"us\\u0435r"'),
    ('"unit":"user"', '"unit":"user","unit":"interaction"'),
    ('"mode":"local"', '"mode":"central"'),
    ('"delta":', '"delta":1e-7,"delta":0.9,"delta_":'),
    ('"epsilon":', '"epsilon":Infinity,"epsilon_":'),
    ('"epsilon":', '"epsilon":NaN,"epsilon_":'),
    ('"epsilon":', '"epsilon":"0.1","epsilon_":'),
    ('"seed":', '"seed":-1,"seed_":'),
    ('"job_id":"', '"job_id":"../../'),
    ('"settings":{', '"settings":{"rounds":true,'),
    ('"settings":{', '"settings":{"__class__":"os.system",'),
    ('"solver":', '"plan":{"noise_multiplier":0},"solver":'),
)
"""What no job of ours could say: replaced in its JSON."""
