"""Memory that ran out is told in one line; other errors pass."""

import numpy as np
import pytest
import torch

from kolors_course.errors import CourseError, enough_memory, is_out_of_memory


def grow_python():
    bytearray(2**62)


def grow_numpy():
    np.zeros(2**56)


def grow_torch():
    torch.empty(2**58)


@pytest.mark.parametrize("grow", [grow_python, grow_numpy, grow_torch])
def test_memory_that_runs_out_names_what_to_lower(grow):
    told = "memory is not enough: lower --batch_size, or end"
    with pytest.raises(CourseError, match=told) as caught, enough_memory("lower --batch_size"):
        grow()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_gpu_without_memory_is_told_as_that(error):
    with pytest.raises(CourseError, match="the GPU's memory is not enough"), enough_memory():
        raise error


def test_other_ways_to_say_it():
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"))
    assert is_out_of_memory(
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")
    )
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), OSError(28, "No space left"), KeyError("x")]
)
def test_other_errors_are_left_as_they_are(error):
    with pytest.raises(type(error)) as caught, enough_memory():
        raise error
    assert caught.value is error
