"""Taking times fairly: jobs take turns, after one warm-up each, and the median counts."""

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import peft
import torch
import transformers


def median_seconds(jobs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each job. They alternate, so that whatever else the machine does meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(repeats):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def ratios(seconds: Mapping[str, float], ours: str) -> dict[str, dict[str, float]]:
    """Seconds of each job, and how many times as long as `ours` it took."""
    return {
        name: {"seconds": round(value, 4), "times ours": round(value / seconds[ours], 2)}
        for name, value in seconds.items()
    }


def circumstances(threads: int, device: torch.device, commit: str | None = None) -> dict[str, Any]:
    """Commit, versions and machine, without which a measurement says nothing.

    Args:
        commit: for a copy of the repository without its history.
    """
    root = Path(__file__).resolve().parents[1]
    if commit is None:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
        commit = asked.stdout.strip()
    modules = (torch, diffusers, peft, transformers)
    card = f" {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return {
        "commit": commit,
        "versions": {module.__name__: module.__version__ for module in modules},
        "machine": f"{_processor()}, {threads} threads, device {device}{card}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
