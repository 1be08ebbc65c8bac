"""Taking times fairly: jobs take turns, after one warm-up each, and the median counts."""

import statistics
import time
from collections.abc import Callable, Mapping


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
