"""Two shops that differ in one user, and a server that sends whatever a client accepts.

Asked through the real ClientApp: the answer of both has the same form, code and cost. What
may differ is the sum, by one user's clipped contribution, under the same noise (fixed here).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from common.errors import Code
from common.protocol import OK, Task
from common.solvers.registry import SOLVERS
from simulations.run_folder import RunFolder

FLOOR = {"unobserved_weight": 1e-9, "regularisation": 1e-6}
NETWORK: dict[str, Any] = {
    "rounds": 1, "start": "random", "embedding_dim": 4, "train_items": True, "negatives": 10,
}  # fmt: skip
FOLLOWING: dict[str, Any] = {
    **NETWORK, "personal_steps": 1, "length": 6, "local_steps": 3, "sampler": "exact",
    "optimizer": "sgd", "momentum": 0.0, "warm_up": 0.0, "decay": "constant",
}  # fmt: skip
JOBS: dict[str, dict[str, Any]] = {
    "subspace": {"solver": "subspace", "settings": {**FLOOR, "rounds": 1, "embedding_dim": 4}},
    "dpsgd": {
        "solver": "dpsgd",
        "settings": {**FLOOR, "rounds": 1, "embedding_dim": 4, "local_steps": 1},
    },
    "transitions": {
        "solver": "transitions",
        "settings": {**FLOOR, "rounds": 1, "embedding_dim": 4},
    },
    "attention": {
        "solver": "sequential",
        "settings": {**NETWORK, "length": 6, "network": "attention", "blocks": 1},
    },
    "gru": {"solver": "sequential", "settings": {**NETWORK, "length": 6, "network": "gru"}},
    "recency": {
        "solver": "sequential",
        "settings": {
            "rounds": 1,
            "length": 6,
            "negatives": 10,
            "network": "recency",
            "transitions": {**FLOOR, "rounds": 1, "embedding_dim": 4},
        },
    },
    "neural": {"solver": "neural", "settings": {**NETWORK, "personal_steps": 1, "length": 6}},
    "ridge": {"solver": "neural", "settings": {**NETWORK, "pooling": "ridge", "length": 6}},
    "following the total": {"solver": "neural", "settings": FOLLOWING},
}
SENT: dict[str, Callable[[tuple[int, ...]], NDArray[Any]]] = {
    "identical": lambda shape: np.tile(np.linspace(-1.0, 1.0, shape[-1]), (shape[0], 1)),
    "largest": lambda shape: np.full(shape, 1e6),
    "least": lambda shape: np.full(shape, -1e6),
    "tiny": lambda shape: 1e-25 * np.tile(np.linspace(-1.0, 1.0, shape[-1]), (shape[0], 1)),
    "permuted": lambda shape: np.stack(
        [np.random.default_rng(row).permutation(shape[-1]) / 3.0 for row in range(shape[0])]
    ),
    "zero": np.zeros,
}
BEHIND = {"transitions": 4, "recency": 5}
"""Steps of jobs that have more than popularity, a round and the private evaluation."""


@pytest.fixture
def neighbours(
    run_folder: RunFolder, open_shop: Callable[..., Any], tmp_path: Path
) -> Callable[[], list[Any]]:
    """The shop, and the shop without its longest, its shortest, and all but one of its users."""

    def opened() -> list[Any]:
        shop = open_shop(run_folder)
        counts = pd.read_parquet(shop.folder / "events.parquet")["user_id"].value_counts()
        removed = [[counts.index[0]], [counts.index[-1]], list(counts.index[1:])]
        shops = [shop]
        for number, users in enumerate(removed):
            copy = RunFolder(Path(shutil.copytree(run_folder.path, tmp_path / f"less-{number}")))
            other = open_shop(copy)
            for name in ("events.parquet", "heldout.parquet"):
                rows = pd.read_parquet(other.folder / name)
                rows[~rows["user_id"].isin(users)].to_parquet(other.folder / name, index=False)
            shops.append(other)
        for each in shops:
            each.allow(solvers=tuple(SOLVERS))
        return shops

    return opened


def hostile_task(shop: Any, job: dict[str, Any], step: int, sent: str) -> Task:
    fields = {**job, "evaluation_share": 0.05, "job_id": "ef" * 16}
    shop = replace(shop, job=shop.job.model_copy(update=fields))
    specs = shop.schedule.steps[step].inputs
    inputs = {
        name: np.ones(spec.shape, np.float32)
        if spec.positive or len(spec.shape) == 1
        else np.clip(SENT[sent](spec.shape), -bound, bound).astype(np.float32)
        for name, spec in specs.items()
        for bound in [0.99 * spec.max_abs]
    }
    return Task(shop.job, step, inputs)


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("solver", JOBS)
def test_neighbours_answer_alike_to_a_hostile_server(
    neighbours: Callable[[], list[Any]],
    solver: str,
    sent: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shops = neighbours()
    steps = range(1, BEHIND.get(solver, 3))
    for step in steps:
        replies = [shop.ask(hostile_task(shop, JOBS[solver], step, sent)) for shop in shops]
        assert [reply.code for reply in replies] == [OK] * len(shops)
        forms = [{name: a.shape for name, a in reply.arrays.items()} for reply in replies]
        assert forms == [forms[0]] * len(shops)
        assert all(np.isfinite(a).all() for reply in replies for a in reply.arrays.values())
    assert not [record for record in caplog.records if record.exc_info], "contained, but a defect"
    kinds = shops[0].kinds()
    assert kinds == ["open", "admit", *["reserve", "spend"] * len(steps)]
    assert [shop.kinds() for shop in shops] == [kinds] * len(shops)


ODD: dict[str, dict[str, Any]] = {
    "least clip": {"clip_norm": 1e-6},
    "largest clip": {"clip_norm": 1e6},
    "all items, and more": {"negatives": 50_000_000},
    "largest refinement": {"personal_steps": 3, "personal_rate": 1e3},
    "largest ratings": {"loss": "explicit", "rating_scale": 1e-6, "rating_mean": -1e6},
    "a window of one": {"length": 1},
    "one known at most": {"known_share": 1e-9},
    "a head of one's own": {"share_head": False, "personal_steps": 1, "head": 2},
    "rows that nobody is enough for": {"row_selection": {"threshold": 1e12}},
}


@pytest.mark.parametrize("odd", ODD)
def test_neighbours_answer_alike_to_odd_settings(
    neighbours: Callable[[], list[Any]], odd: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = {"solver": "neural", "settings": {**JOBS["neural"]["settings"], **ODD[odd]}}
    shops = neighbours()
    replies = [shop.ask(hostile_task(shop, job, 1, "permuted")) for shop in shops]
    assert [reply.code for reply in replies] == [OK] * len(shops)
    assert all(np.isfinite(a).all() for reply in replies for a in reply.arrays.values())
    assert not [record for record in caplog.records if record.exc_info], "contained, but a defect"


@pytest.mark.parametrize("sent", SENT)
def test_one_user_moves_the_evaluation_by_one_clip_at_most(
    neighbours: Callable[[], list[Any]], sent: str
) -> None:
    """With the same noise, so that the sums themselves can be compared."""
    whole, *less, _ = neighbours()
    sums = [
        shop.ask(hostile_task(shop, JOBS["subspace"], 2, sent)).arrays["sum"]
        for shop in (whole, *less)
    ]
    for total in sums[1:]:
        assert np.linalg.norm(sums[0] - total) <= 1 + 1e-5


BEYOND: dict[str, tuple[str, dict[str, Any]]] = {
    "no regularisation to speak of": ("subspace", {"regularisation": 1e-300}),
    "no regularisation in dpsgd": ("dpsgd", {"regularisation": 1e-300}),
    "weight of the unobserved": ("subspace", {"unobserved_weight": 1e300}),
    "steps without end": ("dpsgd", {"rounds": 10_000, "local_steps": 10_000}),
    "clip norm below the numbers": ("dpsgd", {"clip_norm": 1e-300}),
    "learning rate": ("dpsgd", {"learning_rate": 1e300}),
    "spectrum floor": ("subspace", {"spectrum_floor": 1e-12}),
    "rounds": ("subspace", {"rounds": 10**9}),
    "a window without end": ("sequential", {"length": 10**9}),
    "dropout by a draw of the server's": ("sequential", {"dropout": 1.0}),
    "features without end": ("neural", {"feature_width": 10**9}),
    "a refinement without end": ("neural", {"personal_steps": 10**6}),
    "rows chosen among none": ("neural", {"row_selection": {"threshold": 1.0}}),
    "contexts that grow": ("transitions", {"decays": [2.0]}),
}


@pytest.mark.parametrize("what", BEYOND)
def test_settings_beyond_their_bounds_are_refused_before_anything_is_reserved(
    shop: Any, what: str
) -> None:
    solver, settings = BEYOND[what]
    shop.allow(solvers=tuple(SOLVERS))
    job = shop.job.model_copy(update={"solver": solver, "settings": settings})
    assert shop.ask(Task(job, 0, {})).code == str(Code.CONFIG_INVALID)
    assert shop.kinds() == ["open", "refuse"]
