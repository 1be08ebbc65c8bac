"""The LoRA file: what is written, what is read back, and every way a file can be bad."""

import json
import math
import os
import re
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.lora import LoraSettings, read_lora, save_lora

ORIGIN = {"base_model": "kolors-mini", "dataset_hash": "abc123"}
SETTINGS = LoraSettings(rank=2, alpha=1.0, target_modules=("to_q", "conv"))


def lora_state(rank: int = 2, dora: bool = False) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "mid.attn.to_q.lora_A.weight": (rank, 6),
        "mid.attn.to_q.lora_B.weight": (4, rank),
        "mid.conv.lora_A.weight": (rank, 6, 3, 3),
        "mid.conv.lora_B.weight": (4, rank, 1, 1),
    }
    if dora:
        shapes |= {
            "mid.attn.to_q.lora_magnitude_vector": (4,),
            "mid.conv.lora_magnitude_vector": (1, 4, 1, 1),
        }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def raw_metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def write_raw(path: Path, tensors: dict[str, torch.Tensor], **adapter) -> Path:
    """A file as another program might write it; no metadata at all without `adapter`."""
    entry = json.dumps({f"unet.{key}": value for key, value in adapter.items()})
    save_file(
        {f"unet.{name}": tensor for name, tensor in tensors.items()},
        path,
        metadata={"format": "pt", "lora_adapter_metadata": entry} if adapter else None,
    )
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        LoraSettings(2, 4.0, ("to_q", "conv"), use_rslora=True, init="kaiming"),
        LoraSettings(2, 0.5, ("mid.attn.to_q", "mid.conv"), use_dora=True),
    ],
)
def test_round_trip_is_exact(tmp_path, settings, dtype):
    state = {name: tensor.to(dtype) for name, tensor in lora_state(dora=settings.use_dora).items()}
    extra = {"prompt_notes": "水墨画风", "steps": 250, "command": "kolors-course train-lora"}
    path = save_lora(tmp_path / "new" / "ink.safetensors", state, settings, **ORIGIN, extra=extra)
    lora = read_lora(path)
    assert lora.settings == settings
    assert lora.path == path
    assert lora.base_model == "kolors-mini"
    assert lora.metadata.items() >= (ORIGIN | extra | {"rank": 2, "alpha": settings.alpha}).items()
    assert lora.metadata["version"]
    assert lora.state_dict.keys() == state.keys()
    for name, tensor in state.items():
        assert lora.state_dict[name].dtype == dtype
        assert torch.equal(lora.state_dict[name], tensor)


def test_file_follows_the_diffusers_layout(tmp_path):
    path = save_lora(tmp_path / "ink.safetensors", lora_state(), SETTINGS, **ORIGIN)
    assert load_file(path).keys() == {f"unet.{name}" for name in lora_state()}
    metadata = raw_metadata(path)
    assert metadata["format"] == "pt"
    adapter = json.loads(metadata["lora_adapter_metadata"])
    assert (adapter["unet.r"], adapter["unet.lora_alpha"]) == (2, 1.0)
    assert adapter["unet.target_modules"] == ["to_q", "conv"]
    assert json.loads(metadata["kolors_course"])["dataset_hash"] == "abc123"
    assert [file.name for file in tmp_path.iterdir()] == ["ink.safetensors"]


def test_views_are_saved(tmp_path):
    state = lora_state()
    state["mid.attn.to_q.lora_A.weight"] = torch.arange(12.0).reshape(6, 2).T
    path = save_lora(tmp_path / "ink.safetensors", state, SETTINGS, **ORIGIN)
    read = read_lora(path).state_dict["mid.attn.to_q.lora_A.weight"]
    assert torch.equal(read, state["mid.attn.to_q.lora_A.weight"])


def test_file_of_another_program(tmp_path):
    path = tmp_path / "theirs.safetensors"
    lora = read_lora(write_raw(path, lora_state(), r=2, lora_alpha=4, target_modules=["conv", "to_q"]))
    assert lora.settings == LoraSettings(2, 4.0, ("conv", "to_q"))
    assert lora.metadata == {}
    assert lora.base_model == "an unknown base model"


@pytest.mark.parametrize(
    "targets",
    [
        {"target_modules": ".*(conv|to_q)"},
        {"target_modules": ["conv"], "exclude_modules": ["up"]},
        {"target_modules": ["conv"], "layers_to_transform": [1]},
    ],
)
def test_targets_come_from_the_tensors_where_a_plain_list_is_lacking(tmp_path, targets):
    path = write_raw(tmp_path / "theirs.safetensors", lora_state(), r=2, lora_alpha=4, **targets)
    assert read_lora(path).settings.target_modules == ("mid.attn.to_q", "mid.conv")


def test_missing_alpha_is_never_guessed(tmp_path):
    bare = write_raw(tmp_path / "bare.safetensors", lora_state(dora=True))
    with pytest.raises(CourseError, match=r"bare\.safetensors: the file does not say its alpha.*--alpha"):
        read_lora(bare)
    assert read_lora(bare, alpha=4.0).settings == LoraSettings(
        2, 4.0, ("mid.attn.to_q", "mid.conv"), use_dora=True
    )
    with pytest.raises(CourseError, match="alpha"):
        read_lora(bare, alpha=math.nan)


def test_given_alpha_may_not_contradict_the_file(tmp_path):
    path = save_lora(tmp_path / "ink.safetensors", lora_state(), SETTINGS, **ORIGIN)
    assert read_lora(path, alpha=1.0).settings == SETTINGS
    with pytest.raises(CourseError, match=r"says alpha 1\.0, not 4"):
        read_lora(path, alpha=4)


def test_not_a_lora_file(tmp_path):
    with pytest.raises(CourseError, match="there is no LoRA file"):
        read_lora(tmp_path / "none.safetensors")
    with pytest.raises(CourseError, match="there is no LoRA file"):
        read_lora(tmp_path)
    (tmp_path / "text.safetensors").write_text("not a LoRA")
    with pytest.raises(CourseError, match="not a safetensors file"):
        read_lora(tmp_path / "text.safetensors")
    save_file({"conv_in.weight": torch.zeros(2)}, tmp_path / "unet.safetensors")
    with pytest.raises(CourseError, match=r"holds no LoRA tensors \(it holds: conv_in\.weight\)"):
        read_lora(tmp_path / "unet.safetensors")
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(CourseError, match="nothing"):
        read_lora(tmp_path / "empty.safetensors")


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_file(tmp_path, kept):
    path = save_lora(tmp_path / "ink.safetensors", lora_state(), SETTINGS, **ORIGIN)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(CourseError, match="cut short"):
        read_lora(path)


def test_other_tensors_are_named_in_the_error(tmp_path):
    tensors = {f"unet.{name}": tensor for name, tensor in lora_state().items()}
    save_file(tensors | {"unet.mid.norm.weight": torch.zeros(6)}, tmp_path / "more.safetensors")
    with pytest.raises(CourseError, match=r"1 of 5 tensors do not belong to a LoRA .*first: unet\.mid\.norm"):
        read_lora(tmp_path / "more.safetensors")
    save_file(tensors | {"text_encoder.q.lora_A.weight": torch.zeros(2, 6)}, tmp_path / "text.safetensors")
    with pytest.raises(CourseError, match=r"text encoder too \(first: text_encoder\.q\.lora_A\.weight"):
        read_lora(tmp_path / "text.safetensors")


def broken(**changes) -> dict[str, torch.Tensor]:
    """The state with tensors of `mid.attn.to_q` replaced, or left out where the change is None."""
    state = lora_state(dora=changes.pop("dora", False))
    state |= {f"mid.attn.to_q.{part}.weight": tensor for part, tensor in changes.items()}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


BROKEN = [
    (broken(lora_B=None), r"mid\.attn\.to_q is incomplete.*lora_B\.weight"),
    (broken(lora_A=None), r"mid\.attn\.to_q is incomplete.*lora_A\.weight"),
    (broken(lora_B=torch.zeros(4, 3)), r"to_q\.lora_B\.weight has shape \(4, 3\).*not of rank 2"),
    (broken(lora_A=torch.zeros(3, 6), lora_B=torch.zeros(4, 3)), r"to_q\.lora_A\.weight has shape \(3, 6\)"),
    (broken(lora_A=torch.zeros(2)), r"to_q\.lora_A\.weight has shape \(2,\)"),
    (broken(lora_A=torch.tensor(1.0)), r"to_q\.lora_A\.weight has shape \(\)"),
    (broken(lora_A=torch.full((2, 6), math.nan)), r"to_q\.lora_A\.weight holds numbers that are not finite"),
    (broken(lora_B=torch.full((4, 2), math.inf)), r"to_q\.lora_B\.weight holds numbers that are not finite"),
    (broken(lora_A=torch.ones(2, 6, dtype=torch.int32)), r"lora_A\.weight holds numbers"),
    (broken(dora=True), r"has too much \(lora_magnitude_vector\)"),
    ({}, "no LoRA tensors"),
]


@pytest.mark.parametrize(("state", "message"), BROKEN)
def test_broken_tensors_are_neither_read_nor_written(tmp_path, state, message):
    path = write_raw(tmp_path / "bad.safetensors", state, r=2, lora_alpha=1, use_dora=False)
    with pytest.raises(CourseError, match=message):
        read_lora(path)
    with pytest.raises(CourseError, match=message):
        save_lora(tmp_path / "out.safetensors", state, SETTINGS, **ORIGIN)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"r": 4, "lora_alpha": 1}, "not of rank 4"),
        ({"r": "2", "lora_alpha": 1}, "rank must be"),
        ({"r": 2, "lora_alpha": "1"}, "alpha must be"),
        ({"r": 2, "lora_alpha": 0}, "alpha must be"),
        ({"r": 2, "lora_alpha": 1, "target_modules": []}, "target_modules"),
        ({"r": 2, "lora_alpha": 1, "use_dora": True}, r"incomplete.*\(lora_magnitude_vector\)"),
        ({"r": 2, "lora_alpha": 1, "alpha_pattern": {"conv": "3"}}, "alpha must be"),
        ({"r": 2, "lora_alpha": 1, "alpha_pattern": {"(a+)+$": 3}}, "too intricate"),
        ({"r": 2, "lora_alpha": 1, "alpha_pattern": [1]}, "not a table of layers"),
        ({"r": 2, "lora_alpha": 1, "rank_pattern": {"conv": 3}}, "not of rank 3"),
        ({"r": 10**9, "lora_alpha": 1}, "rank must be"),
        ({"r": 2, "lora_alpha": math.nan}, "alpha must be"),
        ({"r": 2, "lora_alpha": math.inf}, "alpha must be"),
        ({"r": 2, "lora_alpha": 10**400}, "alpha must be"),
        ({"r": 2, "lora_alpha": 1, "trainable_token_indices": [1]}, "trainable_token_indices of peft"),
        ({"r": 2, "lora_alpha": 1, "lora_bias": True}, "lora_bias of peft"),
        ({"r": 2, "lora_alpha": 1, "init_lora_weights": "pissa"}, "init_lora_weights=pissa of peft"),
    ],
)
def test_metadata_that_cannot_be_followed(tmp_path, adapter, message):
    path = write_raw(tmp_path / "bad.safetensors", lora_state(), **adapter)
    with pytest.raises(CourseError, match=rf"bad\.safetensors.*{message}"):
        read_lora(path)


@pytest.mark.parametrize("key", ["lora_adapter_metadata", "kolors_course"])
@pytest.mark.parametrize("entry", ["{broken", "[1, 2]"])
def test_metadata_that_is_not_a_json_object(tmp_path, key, entry):
    path = save_lora(tmp_path / "ink.safetensors", lora_state(), SETTINGS, **ORIGIN)
    save_file(load_file(path), path, metadata=raw_metadata(path) | {key: entry})
    with pytest.raises(CourseError, match=f"{key} is not"):
        read_lora(path)


def test_bad_output_paths(tmp_path):
    with pytest.raises(CourseError, match=r"called something\.safetensors"):
        save_lora(tmp_path / "ink.ckpt", lora_state(), SETTINGS, **ORIGIN)
    (tmp_path / "file").write_text("not a folder")
    target = tmp_path / "file" / "ink.safetensors"
    with pytest.raises(CourseError, match=f"cannot write to {re.escape(str(target.parent))}"):
        save_lora(target, lora_state(), SETTINGS, **ORIGIN)
    assert (tmp_path / "file").read_text() == "not a folder"


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = save_lora(tmp_path / "ink.safetensors", lora_state(), SETTINGS, **ORIGIN)
    before = path.read_bytes()

    def disk_full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("kolors_course.lora.files.write_safetensors", disk_full)
    with pytest.raises(CourseError, match="No space left on device"):
        save_lora(path, lora_state(), SETTINGS, **ORIGIN, extra={"steps": 2})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["ink.safetensors"]


def test_extra_metadata_may_not_replace_ours(tmp_path):
    extra = {"alpha": 9, "base_model": "?"}
    with pytest.raises(CourseError, match="may not be called alpha, base_model"):
        save_lora(tmp_path / "ink.safetensors", lora_state(), SETTINGS, **ORIGIN, extra=extra)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_get_the_permissions_of_new_files(tmp_path, umask):
    """safetensors makes its files private; a shared folder of LoRAs would be of no use to others."""
    before = os.umask(umask)
    try:
        path = save_lora(tmp_path / "ink.safetensors", lora_state(), SETTINGS, **ORIGIN)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_link_is_put_in_place_without_touching_its_target(tmp_path):
    (tmp_path / "private").touch(mode=0o600)
    with atomic_path(tmp_path / "link") as link:
        link.symlink_to(tmp_path / "private")
    assert (tmp_path / "link").resolve() == tmp_path / "private"
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
