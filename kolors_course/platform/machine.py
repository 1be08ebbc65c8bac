"""What this machine grants to this process: cores, memory and disk, with a container's limits counted in.

Notebook services run containers on large hosts: the host's 96 cores and 500 GB are visible inside, yet only
8 cores and 32 GB may be used. Linux says so in control-group files.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes: what this process may use in all, and how much of it is free now."""

    total: int
    free: int


def available_cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: CPU affinity and container quota counted in, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota, period = _cpu_quota(cgroup)
    return max(1, min(cores, quota // period)) if quota else cores


def memory(cgroup: Path = CGROUP) -> Memory:
    """Main memory of the machine, or of the container where that has less."""
    machine = psutil.virtual_memory()
    limit = _number(cgroup / "memory.max") or _number(cgroup / "memory" / "memory.limit_in_bytes")
    # Control groups of version 1 write "no limit" as a number far beyond any machine's memory.
    if limit is None or limit >= machine.total:
        return Memory(machine.total, machine.available)
    used = _number(cgroup / "memory.current") or _number(cgroup / "memory" / "memory.usage_in_bytes") or 0
    return Memory(limit, min(machine.available, max(0, limit - used + _reclaimable(cgroup))))


def free_disk(folder: str | Path) -> int:
    """Free bytes on the disk that holds `folder`, or that would hold it once it is made."""
    folder = Path(folder).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(existing).free


def _cpu_quota(cgroup: Path) -> tuple[int | None, int]:
    """CPU time granted per period, both in microseconds; None without a limit."""
    words = _text(cgroup / "cpu.max").split()
    if len(words) == 2:
        return (int(words[0]) if words[0].isdigit() else None), int(words[1])
    quota = _number(cgroup / "cpu" / "cpu.cfs_quota_us")
    return quota, _number(cgroup / "cpu" / "cpu.cfs_period_us") or 100_000


def _reclaimable(cgroup: Path) -> int:
    """Bytes of file cache that count as used but are given back on demand."""
    lines = (_text(cgroup / "memory.stat") or _text(cgroup / "memory" / "memory.stat")).splitlines()
    counts = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(counts.get("total_inactive_file") or counts.get("inactive_file") or 0)


def _number(file: Path) -> int | None:
    """The number in `file`; None when there is no such file, or it says "max" or -1: no limit."""
    text = _text(file).strip()
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    """What `file` says; empty where there is no such file, as on machines without control groups."""
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""
