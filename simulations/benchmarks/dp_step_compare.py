"""That a step of ours and Opacus' sum the same, before anybody asks which is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from common.arrays import Floats
from common.privacy.gathered import GatheredRows
from common.privacy.gathered_sum import add_gathered
from common.privacy.grid import per_user
from common.privacy.rank_one import RankOne
from common.privacy.rank_one_sum import add_rank_one
from simulations.benchmarks.mf_load import MfWorld, gradient_of
from simulations.benchmarks.opacus_twin import (
    Mode,
    inputs_of,
    opacus_step,
    packed_gradient,
    twin_of,
)
from simulations.benchmarks.step_load import Load, World

__all__ = ["SMALL", "AnyWorld", "opacus_of", "relative_errors", "world_of"]

AnyWorld: TypeAlias = World | MfWorld
SMALL: Final = Load(items=200, users=24, events=20, shared=40, dim=16)
_GRID: Final = 2**30


def world_of(load: Load) -> AnyWorld:
    """The workload of `load`."""
    return MfWorld(load) if load.network == "mf" else World(load)


def opacus_of(
    world: AnyWorld, mode: Mode, *, clip_norm: float, noise_multiplier: float
) -> tuple[Callable[[], None], Callable[[], Floats]]:
    """A step by Opacus, and what it has left as the sum, `[rows, dim]`."""
    how = {"clip_norm": clip_norm, "noise_multiplier": noise_multiplier}
    if isinstance(world, MfWorld):
        table = world.twin()
        return opacus_step(table, world.inputs(), mode, **how), lambda: gradient_of(table)
    twin = twin_of(world)
    step = opacus_step(twin, inputs_of(world), mode, **how)
    return step, lambda: packed_gradient(twin, world.packing)


def relative_errors(load: Load = SMALL) -> dict[str, float]:
    """How far Opacus' sums without noise are from ours, relative to the norm of ours.

    The clip norm is the median of the users' norms: half of them are clipped.
    """
    world = world_of(load)
    batches = world.contributions()
    clip_norm = float(np.median(np.concatenate([_norms(batch) for batch in batches])))
    units = np.zeros((world.rows, load.dim), dtype=np.int64)
    for batch in batches:
        if isinstance(batch, RankOne):
            add_rank_one(units, batch, clip_norm, _GRID)
        else:
            add_gathered(units, batch, clip_norm, _GRID)
    ours = units * (clip_norm / _GRID)
    modes: tuple[Mode, ...] = ("hooks", "ghost")
    found: dict[str, float] = {}
    for mode in modes:
        step, summed = opacus_of(world, mode, clip_norm=clip_norm, noise_multiplier=0.0)
        step()
        found[mode] = float(np.linalg.norm(summed() - ours)) / float(np.linalg.norm(ours))
    return found


def _norms(batch: GatheredRows | RankOne) -> Floats:
    """Of each user, from what is written out."""
    blocks = batch.expand(1 << 20)
    squares = [per_user(np.square(b.values).sum(axis=1), b.indptr, np.add) for b in blocks]
    return np.asarray(np.sqrt(np.concatenate(squares)))
