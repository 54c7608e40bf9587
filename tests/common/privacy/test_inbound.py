import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, InboundError
from common.privacy.inbound import ArraySpec, check_array, check_arrays


def refused(array, spec):
    with pytest.raises(InboundError) as error:
        check_arrays({"items": array}, {"items": spec})
    assert error.value.code == Code.INBOUND_ARRAY
    assert "'items'" in error.value.where
    return error.value.message


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.inf, -np.inf, np.nan, 3e38, -3e38, 1.0001e6]),
    st.integers(0, 5),
    st.integers(0, 2),
    st.sampled_from(["float32", "float64"]),
)
def test_one_bad_entry_anywhere_is_refused(bad, row, column, dtype):
    array = np.ones((6, 3), dtype=dtype)
    array[row, column] = bad
    reason = refused(array, ArraySpec((6, 3), dtype=dtype))
    assert "not finite" in reason or "beyond" in reason


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4))
def test_what_passes_is_finite_bounded_and_without_denormals(values):
    array = np.array(values, dtype=np.float32)
    safe = check_array("items", array, ArraySpec((4,)))
    assert np.all(np.isfinite(safe))
    assert np.all((safe == 0) | (np.abs(safe) >= np.finfo(np.float32).tiny))
    normal = np.abs(array) >= np.finfo(np.float32).tiny
    assert np.array_equal(safe[normal], array[normal])


def test_denormals_become_zero_and_the_original_stays():
    array = np.array([1e-40, -1e-45, 1.0], dtype=np.float32)
    safe = check_array("items", array, ArraySpec((3,)))
    assert safe.tolist() == [0.0, 0.0, 1.0]
    assert array[0] != 0


@pytest.mark.parametrize("shape", [(6,), (3, 6), (6, 3, 1), (0, 3), ()])
def test_wrong_shapes_are_refused(shape):
    assert "shape" in refused(np.zeros(shape, np.float32), ArraySpec((6, 3)))


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "complex64", ">f4", "bool"])
def test_wrong_types_are_refused(dtype):
    assert "type" in refused(np.zeros((6, 3), dtype), ArraySpec((6, 3)))


def test_objects_are_refused():
    assert "type" in refused(np.full((6, 3), None), ArraySpec((6, 3)))


@pytest.mark.parametrize("bad", [0.0, -1.0, 1e-40])
def test_positive_means_positive_after_denormals_are_gone(bad):
    array = np.array([1.0, bad], dtype=np.float32)
    assert "positive" in refused(array, ArraySpec((2,), positive=True))


def test_orthonormal_columns():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 5)))[0].astype(np.float32)
    spec = ArraySpec((40, 5), orthonormal=True)
    assert np.array_equal(check_array("items", basis, spec), basis)
    for broken in (basis * 1.01, np.zeros_like(basis), np.repeat(basis[:, :1], 5, axis=1)):
        assert "orthonormal" in refused(broken, spec)


def test_integers_are_bounded_too():
    spec = ArraySpec((2,), max_abs=5, dtype="int64")
    assert check_array("n", np.array([5, -5]), spec).tolist() == [5, -5]
    assert "beyond" in refused(np.array([5, 6]), spec)
    assert "beyond" in refused(np.array([np.iinfo(np.int64).min, 0]), spec)


def test_missing_and_uninvited_arrays_are_refused():
    array = np.zeros(2, np.float32)
    with pytest.raises(InboundError, match="missing"):
        check_arrays({}, {"items": ArraySpec((2,))})
    with pytest.raises(InboundError, match="not asked for"):
        check_arrays({"items": array, "more": array}, {"items": ArraySpec((2,))})


def test_empty_arrays_pass():
    assert check_array("items", np.zeros((0, 3), np.float32), ArraySpec((0, 3))).shape == (0, 3)
