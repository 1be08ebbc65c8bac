"""Which errors mean that memory ran out, and how messages show values from elsewhere."""

import numpy as np
import pytest
import torch

from kolors_course.errors import CourseError, brief, enough_memory, is_out_of_memory


def told(error: BaseException, advice: str = "lower --size") -> str:
    with pytest.raises(CourseError) as caught, enough_memory(advice):
        raise error
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 200
    return message


def raised(action) -> BaseException:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        action()
    return caught.value


@pytest.mark.parametrize(
    "action",
    [
        lambda: torch.empty(2**46),  # CPU
        lambda: torch.empty(2**40, 2**40),
        lambda: np.empty(2**46, dtype=np.float64),
        lambda: bytearray(2**60),
    ],
    ids=["torch", "torch-overflow", "numpy", "python"],
)
def test_allocations_that_cannot_be_made_are_told_as_memory(action):
    error = raised(action)
    assert is_out_of_memory(error)
    assert told(error).startswith("the memory is not enough")
    assert ": lower --size, or end other programs" in told(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ..."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB). Tried to allocate 20.00 GiB"),
        RuntimeError("Invalid buffer size: 64.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    ],
    ids=str,
)
def test_the_words_of_every_device_are_known(error):
    assert is_out_of_memory(error)
    assert told(error).startswith("the GPU's memory" if "CU" in str(error) else "the memory")


def test_how_much_was_wanted_is_said():
    error = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total")
    assert "is not enough (it wanted 20.00 GiB more): lower --size," in told(error)


def test_other_errors_are_not_taken_for_memory():
    shapes = raised(lambda: torch.ones(2, 3) @ torch.ones(2, 3))
    with pytest.raises(ValueError, match="^out of memory$"), enough_memory():
        raise ValueError("out of memory")
    assert not any(map(is_out_of_memory, (shapes, ValueError("out of memory"), KeyError("memory"))))


@pytest.mark.parametrize(
    "value", ["x" * 10**6, [["x" * 10**5] * 9] * 9, {"k" * 10**5: 1}, 10**3000, range(10**9), b"x" * 10**5]
)
def test_values_are_shown_short_and_on_one_line(value):
    assert len(brief(value)) <= 60
    assert len(brief(value, 20)) <= 20
    assert brief("a\nb") == r"a\x0ab"
