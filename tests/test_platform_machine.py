import os

import psutil
import pytest

from kolors_course.errors import CourseError
from kolors_course.platform import machine, paths

GIB = 2**30


def container(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def large_host(monkeypatch):
    """A host of 96 cores and 500 GiB, of which 400 GiB are available."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(96)), raising=False)
    host = psutil.virtual_memory()._replace(total=500 * GIB, available=400 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: host)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 96),
        ({"cpu.max": "max 100000\n"}, 96),
        ({"cpu.max": "800000 100000\n"}, 8),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 96),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_cores_of_a_container(tmp_path, large_host, files, cores):
    assert machine.available_cores(container(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "total", "free"),
    [
        ({}, 500, 400),
        ({"memory.max": "max\n", "memory.current": f"{9 * GIB}\n"}, 500, 400),
        ({"memory.max": f"{32 * GIB}\n", "memory.current": f"{10 * GIB}\n"}, 32, 22),
        (
            {
                "memory.max": f"{32 * GIB}\n",
                "memory.current": f"{10 * GIB}\n",
                "memory.stat": f"anon 1\ninactive_file {4 * GIB}\n",
            },
            32,
            26,
        ),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 500, 400),
        (
            {
                "memory/memory.limit_in_bytes": f"{32 * GIB}\n",
                "memory/memory.usage_in_bytes": f"{33 * GIB}\n",
            },
            32,
            0,
        ),
    ],
)
def test_memory_of_a_container(tmp_path, large_host, files, total, free):
    assert machine.memory(container(tmp_path, files)) == machine.Memory(total * GIB, free * GIB)


def test_this_machine_is_plausible():
    now = machine.memory()
    assert 0 < now.free <= now.total
    assert 1 <= machine.available_cores() <= (os.cpu_count() or 1)


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path):
    # Other programs write to the same disk meanwhile: 1 GiB of tolerance.
    assert machine.free_disk(tmp_path / "a" / "b") == pytest.approx(psutil.disk_usage(tmp_path).free, abs=GIB)


def test_data_folder_is_the_one_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(tmp_path))
    assert paths.data_dir() == tmp_path


@pytest.mark.parametrize("value", [None, ""])
def test_data_folder_of_the_checkout(monkeypatch, value):
    monkeypatch.delenv("KOLORS_COURSE_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("KOLORS_COURSE_DATA", value)
    assert paths.data_dir() == paths.REPOSITORY / "data"


def test_missing_data_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(tmp_path / "gone"))
    with pytest.raises(CourseError, match="gone .* clone .* set KOLORS_COURSE_DATA"):
        paths.data_dir()


def test_outputs_of_a_checkout_and_of_an_installed_library(tmp_path, monkeypatch):
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    checkout.mkdir()
    elsewhere.mkdir()
    monkeypatch.setattr(paths, "REPOSITORY", checkout)
    monkeypatch.chdir(elsewhere)
    assert paths.outputs_dir() == elsewhere / "outputs"
    (checkout / "pyproject.toml").touch()
    assert paths.outputs_dir() == checkout / "outputs"
    assert (checkout / "outputs").is_dir()
