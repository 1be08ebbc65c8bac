import pytest
import torch

from kolors_course.errors import CourseError
from kolors_course.platform import device as device_module
from kolors_course.platform.device import autocast_dtype, limit_threads, pick_device


@pytest.fixture
def machine(monkeypatch):
    """Make torch report the given machine, whatever this one is."""

    def pretend(cuda_build="13.0", gpus=0, capability=(8, 0), mps=False):
        monkeypatch.setattr(torch.version, "cuda", cuda_build)
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("facts", "best"),
    [({}, "cpu"), ({"gpus": 1}, "cuda"), ({"mps": True}, "mps"), ({"gpus": 1, "mps": True}, "cuda")],
)
def test_best_device(machine, facts, best):
    machine(**facts)
    assert pick_device() == torch.device(best)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps"])
def test_named_device(machine, name):
    machine(gpus=2, mps=True)
    assert pick_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("gpu", {}, "unknown device 'gpu': use cuda, cuda:0, mps or cpu"),
        ("cuda", {"cuda_build": None}, "CPU build"),
        ("cuda", {}, "finds no GPU; run nvidia-smi"),
        ("cuda:2", {"gpus": 2}, "there are 2 GPUs, numbered from 0"),
        ("mps", {}, "Apple silicon"),
        ("meta", {}, "runs on cuda, mps or cpu"),
    ],
)
def test_unusable_device_is_explained(machine, name, facts, message):
    machine(**facts)
    with pytest.raises(CourseError, match=message):
        pick_device(name)


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), None), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_bfloat16_only_on_cards_that_have_it(machine, capability, dtype):
    machine(gpus=1, capability=capability)
    assert autocast_dtype(torch.device("cuda")) == dtype


@pytest.mark.parametrize(
    ("capabilities", "speedup", "dtype"),
    [
        ({"avx2": True}, 9.0, None),
        ({"avx512_bf16": True}, 1.9, torch.bfloat16),
        ({"avx512_bf16": True}, 1.1, None),
        ({"avx512_bf16": False, "amx_bf16": True}, 4.0, torch.bfloat16),
    ],
)
def test_bfloat16_only_on_processors_that_are_fast_with_it(monkeypatch, capabilities, speedup, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(device_module, "_bfloat16_speedup", lambda: speedup)
    assert autocast_dtype(torch.device("cpu")) == dtype


def test_the_speed_of_bfloat16_is_measured_once():
    device_module._bfloat16_speedup.cache_clear()
    measured = device_module._bfloat16_speedup()
    assert 0 < measured < 100
    assert device_module._bfloat16_speedup() == measured


def test_float32_where_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert autocast_dtype(torch.device("cpu")) is None
    assert autocast_dtype(torch.device("mps")) is None


def test_the_answer_fits_autocast():
    dtype = autocast_dtype(torch.device("cpu"))
    layer = torch.nn.Linear(2, 2)
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        assert layer(torch.ones(1, 2)).dtype == (dtype or torch.float32)


@pytest.fixture
def threads(monkeypatch):
    """Two threads and eight cores; torch's real setting is put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(device_module, "available_cores", lambda: 8)
    yield
    torch.set_num_threads(before)


def test_threads_are_set_as_asked(threads):
    assert limit_threads(1) == torch.get_num_threads() == 1


def test_threads_are_never_raised_unasked(threads):
    assert limit_threads() == torch.get_num_threads() == 2


def test_threads_are_lowered_to_the_cores(threads, monkeypatch):
    monkeypatch.setattr(device_module, "available_cores", lambda: 1)
    assert limit_threads() == torch.get_num_threads() == 1


def test_no_threads_is_refused(threads):
    with pytest.raises(CourseError, match="give 1 or more"):
        limit_threads(0)
