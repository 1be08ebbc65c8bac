"""Every reader of files from elsewhere, on thousands of damaged copies of a valid file.

A reader may give a value or one line (a CourseError); everything else is a fault, named with the number of the copy.
A new reader is a line in READERS.
"""

import io
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mutations import join_safetensors, mutated_bytes, mutated_tree, split_safetensors
from pages import SCHEMAS, good_api, good_page
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

from kolors_course.cli import subparser
from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.graph import read_workflow
from kolors_course.dataset import check_dataset
from kolors_course.dataset.pixels import open_picture, storage_quirks
from kolors_course.errors import CourseError
from kolors_course.evaluation import load_probe
from kolors_course.kolors import PUBLISHED, read_sampling, write_sampling
from kolors_course.kolors.skeleton import unet_skeleton
from kolors_course.lora import inspect_lora, read_lora, write_wish
from kolors_course.lora.wishes import sampling_wish
from kolors_course.platform.paths import data_dir
from kolors_course.story import read_storyboard
from kolors_course.training.run import RunFolder
from kolors_course.yaml_files import read_yaml

LONGEST = 1000  # characters of a message
GROWTH = 500 * 2**20  # bytes of memory that all copies together may take


@dataclass(frozen=True)
class Settings:
    steps: int = 3
    rate: float = 0.1


@dataclass(frozen=True)
class Form:
    """How a valid file becomes a tree of values and back; a damaged tree reaches further than damaged bytes."""

    read: Callable[[bytes], Any]
    write: Callable[[Any, bytes], bytes]  # the tree, and the valid file


@dataclass(frozen=True)
class Reader:
    """Attributes:
    file: its path, within a folder that `make` fills.
    make: writes a valid file and what must lie beside it.
    read: the reader, given the path of the file.
    """

    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    form: Form | None = None
    copies: int = 200


def _pickled(tree: Any) -> bytes:
    data = io.BytesIO()
    torch.save(tree, data)
    return data.getvalue()


JSON = Form(json.loads, lambda tree, _: json.dumps(tree).encode())
JSON_LINES = Form(
    lambda data: [json.loads(line) for line in data.splitlines()],
    lambda rows, _: "\n".join(
        json.dumps(row) for row in (rows if isinstance(rows, list) else [rows])
    ).encode(),
)
YAML = Form(yaml.safe_load, lambda tree, _: yaml.safe_dump(tree, allow_unicode=True).encode())
PICKLE = Form(lambda data: torch.load(io.BytesIO(data), weights_only=True), lambda tree, _: _pickled(tree))
SAFETENSORS = Form(
    lambda data: split_safetensors(data)[0],
    lambda header, data: join_safetensors(header, split_safetensors(data)[1]),
)


def _picture(path: Path, **options) -> None:
    Image.effect_noise((24, 16), 60).convert("RGB").save(path, **options)


def _dataset(path: Path, name: str, text: str) -> None:
    for number in range(2):
        _picture(path.parent / f"{number}.png")
    (path.parent / name).write_text(text, encoding="utf-8")


def _workflow_picture(path: Path) -> None:
    facts = PngInfo()
    facts.add_text("workflow", json.dumps(good_page()))
    facts.add_text("prompt", json.dumps(good_api()))
    _picture(path, pnginfo=facts)


def _run(path: Path) -> None:
    run = RunFolder(path.parent)
    run.save(Settings(), step=2, weights=torch.ones(3), losses=[(1, 0.5)], nested={"a": [1, "b"]})
    for step in range(4):
        run.log(step, loss=0.5)


def _unet(path: Path) -> None:
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        (path.parents[1] / part).mkdir(parents=True, exist_ok=True)
    (path.parents[1] / "tokenizer" / "tokenizer.model").touch()
    config = json.loads((data_dir() / "kolors-mini" / "unet" / "config.json").read_text(encoding="utf-8"))
    path.write_text(json.dumps(config), encoding="utf-8")


def _lora_tensors(layout: str) -> dict[str, torch.Tensor]:
    layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_{}"
    tensors = {}
    for name in (layer.format(word) for word in "qkv"):
        if layout == "kohya":
            name = f"lora_unet_{name.replace('.', '_')}"
            down, up, tensors[f"{name}.alpha"] = "lora_down", "lora_up", torch.tensor(2.0)
        else:
            name, down, up = f"unet.{name}", "lora_A", "lora_B"
        tensors[f"{name}.{down}.weight"] = torch.ones(2, 8)
        tensors[f"{name}.{up}.weight"] = torch.ones(8, 2)
    return tensors


def _diffusers_lora(path: Path) -> None:
    facts = {"unet.r": 2, "unet.lora_alpha": 4, "unet.target_modules": ["to_q", "to_k", "to_v"]}
    save_file(_lora_tensors("diffusers"), path, {"format": "pt", "lora_adapter_metadata": json.dumps(facts)})


def _wishing_lora(path: Path) -> None:
    _diffusers_lora(path)
    write_wish(path, PUBLISHED)


def _kohya_lora(path: Path) -> None:
    save_file(_lora_tensors("kohya"), path, {"ss_network_dim": "2", "ss_network_alpha": "2.0"})


@cache
def _mini_unet() -> torch.nn.Module:
    return unet_skeleton(data_dir() / "kolors-mini")


def _read_lora(path: Path) -> object:
    alpha = 4.0 if path.suffix == ".ckpt" else None  # that layout does not say it
    return inspect_lora(path, unet=_mini_unet()), read_lora(path, alpha=alpha, unet=_mini_unet())


CONTENTS = {"step": int, "weights": torch.Tensor, "losses": list, "nested": dict}  # of a checkpoint
READERS = (
    Reader("story.yaml", lambda path: path.write_bytes((data_dir() / "stories/moon_rabbit.yaml").read_bytes()),
           read_storyboard, YAML),
    Reader("config.yaml", lambda path: path.write_text("a: 1e-4\nb: {c: [x, true, 'y']}\nd: &d [1]\ne: *d\n"),
           lambda path: read_yaml(path, "a file"), YAML, 400),
    Reader("run.yaml", lambda path: path.write_text("lora_rank: 8\nsample_prompt: [{prompt: a}]\nseed: 1\n"),
           lambda path: subparser("train-lora").parse_args(["--config", str(path)]), YAML),
    Reader("metadata.csv", lambda path: _dataset(path, path.name, "file_name,text\n0.png,一只兔子\n1.png,\"a, b\"\n"),
           lambda path: check_dataset(path.parent)),
    Reader("metadata.jsonl", lambda path: _dataset(path, path.name, '{"file_name": "0.png", "text": "a"}\n' * 2),
           lambda path: check_dataset(path.parent), JSON_LINES),
    Reader("0.txt", lambda path: _dataset(path, path.name, "夜晚雪地上的一只兔子"),
           lambda path: check_dataset(path.parent)),
    Reader("a.png", _picture, lambda path: (open_picture(path), storage_quirks(path))),
    Reader("a.jpg", _picture, lambda path: (open_picture(path), storage_quirks(path))),
    Reader("a.webp", _picture, lambda path: (open_picture(path), storage_quirks(path))),
    Reader("a.avif", _picture, lambda path: (open_picture(path), storage_quirks(path))),
    Reader("a.gif", _picture, lambda path: (open_picture(path), storage_quirks(path)), copies=100),
    Reader("a.tiff", _picture, lambda path: (open_picture(path), storage_quirks(path)), copies=100),
    Reader("diffusers.safetensors", _diffusers_lora, _read_lora, SAFETENSORS),
    Reader("kohya.safetensors", _kohya_lora, _read_lora, SAFETENSORS),
    Reader("lora.ckpt", lambda path: path.write_bytes(_pickled(_lora_tensors("diffusers"))), _read_lora, PICKLE),
    Reader("checkpoint.pt", _run, lambda path: RunFolder(path.parent).resume(Settings(), CONTENTS), PICKLE),
    Reader("log.jsonl", _run, lambda path: RunFolder(path.parent).resume(Settings(), CONTENTS), JSON_LINES),
    Reader("page.json", lambda path: path.write_text(json.dumps(good_page())),
           lambda path: to_api(read_workflow(path), SCHEMAS), JSON, 400),
    Reader("api.json", lambda path: path.write_text(json.dumps(good_api())), read_workflow, JSON),
    Reader("page.png", _workflow_picture, lambda path: to_api(read_workflow(path), SCHEMAS)),
    Reader("unet/config.json", _unet, lambda path: unet_skeleton(path.parents[1]), JSON),
    Reader("sampling.json", lambda path: write_sampling(path.parent, PUBLISHED, {"command": "sweep"}),
           read_sampling, JSON),
    Reader("wish.safetensors", _wishing_lora, sampling_wish, SAFETENSORS),
    Reader("probe.safetensors", lambda path: path.write_bytes((data_dir() / "probes/probe.safetensors").read_bytes()),
           load_probe, SAFETENSORS, 20),
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.file)
def test_damaged_files_give_a_value_or_one_line(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 10**6)  # a damaged size is not worth waiting for
    path = tmp_path / reader.file
    path.parent.mkdir(exist_ok=True)
    reader.make(path)
    reader.read(path)  # the file as it was made is right
    others = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    before, faults = _memory(), []
    for number in range(reader.copies):
        for file, data in others.items():  # a reader may have changed what lies beside
            file.write_bytes(data)
        path.write_bytes(_copy(reader, others[path], random.Random(f"{reader.file} {number}")))
        faults += _fault(reader, path, number)
    assert not faults, f"{len(faults)} of {reader.copies} copies, such as: {'; '.join(faults[:5])}"
    assert _memory() - before < GROWTH


def _copy(reader: Reader, data: bytes, rng: random.Random) -> bytes:
    if reader.form is None or rng.random() < 0.4:
        return mutated_bytes(data, rng)
    return reader.form.write(mutated_tree(reader.form.read(data), rng), data)


def _fault(reader: Reader, path: Path, number: int) -> list[str]:
    try:
        reader.read(path)
    except CourseError as error:
        message = str(error).replace(str(path.parent), "")
        short = len(message) <= LONGEST and "\n" not in message
        return [] if short else [f"copy {number}: {len(message)} characters: {message[:100]!r}"]
    except Exception as error:
        return [f"copy {number}: {type(error).__name__}: {str(error)[:100]!r}"]
    return []


def _memory() -> int:
    """The most bytes that this process has held so far; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
