"""A base model in 4 or 8 bits: close to the plain one, trainable, and refused in one line where it cannot be had.

What needs bitsandbytes runs in a process of its own, because peft imports it everywhere once it is there.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.kolors import load_model

SCRIPT = """
import sys, torch
from pathlib import Path
from dataclasses import replace
from tiny import QUICK, stop_at
from kolors_course.errors import CourseError
from kolors_course.kolors import load_model
from kolors_course.kolors.quantize import quantization_of
from kolors_course.lora import read_lora
from kolors_course.training.lora import RunOptions, train_lora

kind, folder, pictures, out = sys.argv[1], *map(Path, sys.argv[2:])
plain, model = load_model(folder), load_model(folder, quantize=kind, phased=True)
assert model.quantization == kind and quantization_of(model.unet) is None
model.fetch("unet")
assert quantization_of(model.unet) == kind
layers = [type(layer).__name__ for layer in model.unet.modules() if hasattr(layer, "in_features")]
print("replaced", sum(name.startswith("Linear") and name != "Linear" for name in layers))

torch.manual_seed(0)
inputs = torch.randn(1, 4, 8, 8), 500, torch.randn(1, 5, 96)
conditions = {"text_embeds": torch.randn(1, 96), "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]])}
with torch.no_grad():
    noise = [m.unet(*inputs, added_cond_kwargs=conditions).sample for m in (plain, model)]
print("error", ((noise[1] - noise[0]).norm() / noise[0].norm()).item())

def train(name, **options):
    fresh = load_model(folder, quantize=kind, phased=True)
    return train_lora(fresh, pictures, out / name, QUICK, options=RunOptions(free_encoders=True), **options)

whole = train("whole")
try:
    train("parts", progress=stop_at(3))
except KeyboardInterrupt:
    pass
parts = train("parts")
one, two = (read_lora(result.path).state_dict for result in (whole, parts))
print("same", all(torch.equal(tensor, two[name]) for name, tensor in one.items()))
print("learned", any(t.abs().max() > 1e-4 for name, t in one.items() if "lora_B" in name))
try:
    train_lora(plain, pictures, out / "parts", QUICK)
except CourseError as error:
    print("refused", "--quantize" in str(error))
"""


@pytest.fixture(scope="module")
def bitsandbytes(tmp_path_factory) -> str:
    """A folder from which bitsandbytes can be imported; "" where it is installed."""
    if importlib.util.find_spec("bitsandbytes"):
        return ""
    folder = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries", "0"]
    result = subprocess.run(
        [*command, "--target", folder, "bitsandbytes>=0.48"], capture_output=True, text=True
    )
    if result.returncode:
        pytest.skip("bitsandbytes is not installed and cannot be downloaded")
    return str(folder)


@pytest.mark.parametrize(("kind", "error"), [("nf4", 0.25), ("int8", 0.03)])
def test_training_on_a_quantized_base(bitsandbytes, tiny_folder, tiny_pictures, tmp_path, kind, error):
    path = os.pathsep.join(
        [*filter(None, [bitsandbytes, os.environ.get("PYTHONPATH")]), str(Path(__file__).parent)]
    )
    command = [sys.executable, "-c", SCRIPT, kind, tiny_folder, tiny_pictures, tmp_path]
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, cwd=root, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    found = dict(line.split() for line in result.stdout.splitlines())
    assert int(found["replaced"]) > 50
    assert 0 < float(found["error"]) < error
    assert (found["same"], found["learned"], found["refused"]) == ("True", "True", "True")


def test_a_missing_package_is_said_before_anything_is_read(monkeypatch, capsys, tiny_profile, tiny_pictures):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert main(["train-lora", "--dataset_path", str(tiny_pictures), "--quantize", "nf4"]) == 2
    assert "need the package bitsandbytes: pip install bitsandbytes" in capsys.readouterr().err


def test_an_unknown_kind(tiny_folder):
    with pytest.raises(CourseError, match="quantization 'int3' is not one of nf4, int8"):
        load_model(tiny_folder, quantize="int3")
