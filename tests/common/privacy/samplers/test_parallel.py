import tracemalloc

import numpy as np
import pytest

from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.samplers.parallel import over_chunks
from common.privacy.stream import NoiseSource

LARGE = (300_001, 3)


def released(sampler="fast", shape=LARGE):
    return Release(
        step="s.step",
        rows=shape[0],
        width=shape[1],
        share=1.0,
        noise_multiplier=1.5,
        clip_norm=0.3,
        sampler=sampler,
    )


@pytest.mark.parametrize("shape", [(7, 3), LARGE])
@pytest.mark.parametrize("sampler", ["exact", "fast"])
def test_noise_in_the_memory_of_the_sum_is_that_of_one_large_draw(sampler, shape):
    mechanism = GaussianSum(released(sampler, shape), NoiseSource.seeded(1))
    twin = GaussianSum(released(sampler, shape), NoiseSource.seeded(1))
    plain = twin._sampler.draw(shape, twin._noise).astype(np.float64) * twin._unit
    found = mechanism.sum([])
    assert found.dtype == np.float64
    assert np.array_equal(found, plain)


def test_a_large_sum_takes_the_memory_of_one_array():
    mechanism = GaussianSum(released(), NoiseSource.seeded(2))
    tracemalloc.start()
    found = mechanism.sum([])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # and what eight threads draw at a time: a chunk and its normals
    assert peak < found.nbytes + 8 * 4 * 2**21 * 0.75


def test_every_part_is_worked_once_and_small_arrays_keep_their_shape():
    shapes = []

    def add(part, stream):
        shapes.append(part.shape)
        part += 1

    large, small = np.zeros(LARGE, dtype=np.int64), np.zeros((2, 3), dtype=np.int64)
    over_chunks(large, NoiseSource.seeded(3), add)
    assert np.all(large == 1)
    assert all(len(shape) == 1 for shape in shapes)
    over_chunks(small, NoiseSource.seeded(3), add)
    assert shapes[-1] == (2, 3)
    with pytest.raises(ValueError, match="contiguous"):
        over_chunks(large.T, NoiseSource.seeded(3), add)
