"""Choosing the device to compute on, its fast number format, and the number of threads."""

import time
from functools import cache

import torch

from kolors_course.errors import CourseError
from kolors_course.platform.machine import available_cores, memory

# On a CPU bfloat16 must be so many times as fast: its coarser numbers and the conversions want a return.
WORTHWHILE = 1.2


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name` ("cuda", "cuda:1", "mps", "cpu"), or the best there is when None.

    Raises:
        CourseError: no such device, or it cannot be used on this machine; the message says why.
    """
    if name is None:
        devices = (torch.device(kind) for kind in ("cuda", "mps", "cpu"))
        return next(device for device in devices if not _obstacle(device))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CourseError(f"unknown device '{name}': use cuda, cuda:0, mps or cpu") from error
    obstacle = _obstacle(device)
    if obstacle:
        raise CourseError(f"device '{name}' cannot be used: {obstacle}")
    return device


def _obstacle(device: torch.device) -> str:
    """Why `device` cannot be used and what to do; empty when it can."""
    if device.type == "cpu":
        return ""
    if device.type == "cuda":
        return _cuda_obstacle(device.index or 0)
    if device.type == "mps":
        available = torch.backends.mps.is_available()
        return "" if available else "it needs a Mac with Apple silicon and macOS 12.3 or newer; use cpu"
    return "the course runs on cuda, mps or cpu"


def _cuda_obstacle(index: int) -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch is a CPU build; install a CUDA build of torch, or use cpu"
    if not torch.cuda.is_available():
        return (
            f"torch {torch.__version__} finds no GPU; run nvidia-smi: either there is none, or its driver is "
            "too old for this torch; use a notebook image whose torch matches the driver, or use cpu"
        )
    count = torch.cuda.device_count()
    return "" if index < count else f"there are {count} GPUs, numbered from 0"


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """torch.bfloat16 where the device computes with it clearly faster than with float32; else None.

    None means: stay in float32. Emulated bfloat16 is several times slower than float32, and float16 would
    need a gradient scaler, so neither is ever chosen here. Use it as
    `torch.autocast(device.type, dtype, enabled=dtype is not None)`.
    """
    if device.type == "cuda":
        # Native from compute capability 8.0 (Ampere) on; older cards emulate it.
        native = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else None
    if device.type == "cpu" and _cpu_has_bfloat16() and _bfloat16_speedup() >= WORTHWHILE:
        return torch.bfloat16
    return None


def _cpu_has_bfloat16() -> bool:
    """True for x86 processors with AVX-512 or AMX instructions for bfloat16, as far as torch can tell."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # older torch lacks it: then float32, always right
    capabilities = ask() if ask else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@cache
def _bfloat16_speedup() -> float:
    """How many times as fast a matrix product is in bfloat16, measured once in a process, in about 20 ms.

    Having the instructions is not enough: some processors with AVX-512-bf16 are half as fast with it. The fastest
    of several turns counts, because whatever else the machine does can only make a turn slower.
    """
    factors = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(factors, float("inf"))
    for _ in range(6):  # the first turn also warms up
        for dtype, factor in factors.items():
            started = time.perf_counter()
            factor @ factor
            best[dtype] = min(best[dtype], time.perf_counter() - started)
    return best[torch.float32] / best[torch.bfloat16]


def free_memory(device: torch.device) -> int:
    """Bytes that are free on `device` now; main memory where the device has none of its own."""
    if device.type != "cuda":
        return memory().free
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(
        device
    )  # kept by torch for later
    return torch.cuda.mem_get_info(device)[0] + unused


def limit_threads(count: int | None = None) -> int:
    """Let torch use `count` CPU threads, and return that number.

    With None, no more than the cores this process may use: inside a container torch counts the host's cores,
    and many threads on few cores take turns instead of working. A lower OMP_NUM_THREADS is left as it is.

    Raises:
        CourseError: `count` is below 1.
    """
    if count is not None and count < 1:
        raise CourseError(f"cannot compute with {count} threads: give 1 or more")
    count = count or min(torch.get_num_threads(), available_cores())
    torch.set_num_threads(count)
    return count
