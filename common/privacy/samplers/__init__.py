"""Integer noise on a grid: an exact sampler and a fast one behind one interface."""

from __future__ import annotations

from common.privacy.samplers.base import NoiseSampler, grid_sigma, make_sampler
from common.privacy.samplers.exact import ExactSampler
from common.privacy.samplers.fast import FastSampler

__all__ = ["ExactSampler", "FastSampler", "NoiseSampler", "grid_sigma", "make_sampler"]
