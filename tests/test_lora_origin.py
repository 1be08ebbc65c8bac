"""What a file says of itself stays with it; what it was made for is said; equal LoRAs are equal files."""

import json
from dataclasses import replace

import pytest
import torch
from command_line import command
from loras import ATTENTION, random_lora, random_state, small_unet, write_foreign
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.lora import (
    LoraFile,
    combine_loras,
    inspect_lora,
    load_lora,
    merge_into_model,
    read_lora,
    save_lora,
    write_lora,
)
from kolors_course.lora.combine import combined_metadata
from kolors_course.lora.files import SUFFIXES
from kolors_course.lora.origin import family_of, made_for

UNET = small_unet()
SDXL = {
    "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    "modelspec.title": "My style",
    "modelspec.license": "CC-BY-NC",
    "modelspec.trigger_phrase": "mytrigger",
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_tag_frequency": '{"x": {"mytrigger": 10}}',
}
OLD_FORM = {"ss_network_dim": "3", "ss_network_alpha": "1.5", "sshs_model_hash": "00"}


def metadata_of(path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def labelled(folder, metadata, name="theirs", seed=0):
    path = write_foreign(folder, "kohya", UNET, random_state(UNET, ATTENTION, seed), 1.5)
    target = folder / f"{name}.safetensors"
    save_file(load_file(path), target, metadata=metadata)
    return target


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_what_the_author_wrote_stays(tmp_path, layout):
    lora = read_lora(labelled(tmp_path, SDXL | OLD_FORM), unet=UNET)
    assert (lora.made_for, lora.base_model) == ("SDXL", "SDXL")
    path = write_lora(tmp_path / "out.safetensors", lora, layout, UNET)
    kept = metadata_of(path)
    assert kept.items() >= SDXL.items()
    assert "sshs_model_hash" not in kept  # of tensors that lie in another way now
    again = read_lora(path, unet=UNET)
    assert (again.made_for, again.settings.alpha) == ("SDXL", 1.5)
    assert "modelspec.architecture" not in metadata_of(save(tmp_path, "ours.safetensors"))


def save(folder, name, seed=0, **extra):
    state = random_state(UNET, ATTENTION, seed)
    return save_lora(
        folder / name, state, ATTENTION, base_model="kolors-mini", dataset_hash=f"h{seed}", extra=extra
    )


def test_the_report_says_what_it_was_made_for(tmp_path):
    report = inspect_lora(labelled(tmp_path, SDXL), unet=UNET)
    assert report.made_for == "SDXL"
    assert any("made for SDXL" in line for line in report.lines())
    assert inspect_lora(save(tmp_path, "ours.safetensors"), unet=UNET).made_for == ""
    assert load_lora(small_unet(), labelled(tmp_path, SDXL)).made_for == "SDXL"


def test_a_refusal_says_what_it_was_made_for(tmp_path):
    """Most files of SDXL have a part for its text encoders."""
    path = labelled(tmp_path, SDXL)
    tensors = load_file(path)
    clip = {"lora_te1_x.lora_down.weight": torch.ones(2, 8), "lora_te1_x.lora_up.weight": torch.ones(8, 2)}
    elsewhere = {"lora_unet_down_blocks_9_x.lora_down.weight": torch.ones(2, 8)}
    for more, message in ((clip, "a text encoder too"), (elsewhere, "not in this U-Net")):
        save_file(tensors | more, path, metadata=SDXL)
        with pytest.raises(CourseError, match=f"{message}.*; it says that it was made for SDXL"):
            read_lora(path, unet=UNET)


@pytest.mark.parametrize(
    ("entry", "family"),
    [
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
        ({"ss_base_model_version": "sdxl_1.0"}, "SDXL"),
        ({"ss_sd_model_name": "ponyDiffusionV6XL.safetensors"}, "SDXL"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "Stable Diffusion 1.5"),
        ({"ss_base_model_version": "sd_v1"}, "Stable Diffusion 1.5"),
        ({"base_model_name_or_path": "runwayml/stable-diffusion-v1-5"}, "Stable Diffusion 1.5"),
        ({"ss_base_model_version": "sd_v2"}, "Stable Diffusion 2"),
        ({"modelspec.architecture": "stable-diffusion-v3/lora"}, "Stable Diffusion 3"),
        ({"ss_base_model_version": "flux1"}, "FLUX"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "FLUX"),
        ({"modelspec.architecture": "kolors/lora"}, "Kolors"),
        ({"ss_sd_model_name": "sd_xl_base_1.0.safetensors"}, "SDXL"),
        ({"ss_sd_model_name": "mysd2.safetensors"}, ""),
        ({}, ""),
    ],
)
def test_families(entry, family):
    assert made_for(entry) == family
    assert family_of("Kwai-Kolors/Kolors-diffusers") == "Kolors"


def test_loras_of_different_models_are_not_combined(tmp_path):
    theirs = read_lora(labelled(tmp_path, SDXL), unet=UNET)
    ours = read_lora(save(tmp_path, "ours.safetensors"))
    with pytest.raises(CourseError, match=r"was made for SDXL and .*ours\.safetensors for Kolors"):
        combine_loras([(theirs, 1.0), (ours, 1.0)])
    unknown = read_lora(labelled(tmp_path, {}, "unknown", seed=2), unet=UNET)
    assert combine_loras([(unknown, 1.0), (ours, 1.0)]).settings.rank == 6


def test_a_combined_file_keeps_notes_hashes_and_licences(tmp_path):
    one = read_lora(save(tmp_path, "one.safetensors", 1, note="ink on paper"))
    two = read_lora(save(tmp_path, "two.safetensors", 2, note="cut paper"))
    course, foreign = combined_metadata([(one, 1.0), (two, 0.5)])
    assert (course["note"], course["dataset_hash"]) == ("ink on paper + cut paper", "h1 + h2")
    assert [entry["note"] for entry in course["combined"]] == ["ink on paper", "cut paper"]
    assert [entry["strength"] for entry in course["combined"]] == [1.0, 0.5]
    assert foreign == {}
    other = SDXL | {"modelspec.license": "CC0", "ss_tag_frequency": "{}"}
    files = [
        read_lora(labelled(tmp_path, said, name), unet=UNET) for said, name in ((SDXL, "a"), (other, "b"))
    ]
    course, foreign = combined_metadata([(file, 1.0) for file in files])
    assert foreign["modelspec.license"] == "CC-BY-NC + CC0"
    assert foreign["modelspec.trigger_phrase"] == "mytrigger"
    assert "ss_tag_frequency" not in foreign  # no JSON any more, if joined
    assert course["combined"][0]["metadata"] == SDXL


@pytest.mark.usefixtures("tiny_profile")
def test_combine_lora_writes_them(capsys, tmp_path, lora_file):
    out = tmp_path / "both.safetensors"
    assert main(command("combine-lora", f"{lora_file}:0.5", lora_file, "-o", out)) == 0
    course = json.loads(metadata_of(out)["kolors_course"])
    assert course["dataset_hash"] == read_lora(lora_file).metadata["dataset_hash"]
    assert len(course["combined"]) == 2
    capsys.readouterr()


@pytest.mark.usefixtures("tiny_profile")
def test_merging_keeps_them_beside_the_model(tmp_path, tiny_folder, lora_file):
    lora = read_lora(lora_file)
    said = LoraFile(
        lora.path, lora.state_dict, lora.settings, lora.metadata, foreign={"modelspec.license": "CC0"}
    )
    merge_into_model(tiny_folder, [(said, 1.0)], tmp_path / "merged")
    (note,) = json.loads((tmp_path / "merged" / "merged_loras.json").read_text(encoding="utf-8"))["loras"]
    assert note["metadata"] == {"modelspec.license": "CC0"}
    assert note["dataset_hash"] == lora.metadata["dataset_hash"]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16])
def test_eight_bits_are_combined_in_sixteen(tmp_path, dtype):
    """Exactly: sixteen bits hold every number of eight."""
    state = {name: tensor.to(dtype) for name, tensor in random_state(UNET, ATTENTION).items()}
    small = LoraFile(tmp_path, state, ATTENTION, {})
    other = LoraFile(tmp_path, random_state(UNET, ATTENTION, 1, torch.float16), ATTENTION, {})
    for rank in (None, 2):
        result = combine_loras([(small, 1.0), (other, 1.0)], rank)
        name = next(iter(state))
        assert result.state[name].dtype == (torch.float16 if rank is None else torch.float32)
        if rank is None:
            assert torch.equal(result.state[name][:3], state[name].half())
            assert torch.equal(result.state[name][3:], other.state_dict[name])
    half = {name: tensor for name, tensor in state.items() if ".attn1." in name}
    only = LoraFile(tmp_path, half, ATTENTION, {})
    assert combine_loras([(only, 0.5), (small, 1.0)]).settings.rank == 6


FOLDED = {
    "OneTrainer": {"ot_branch": "master", "ot_revision": "23df383"},
    "ai-toolkit": {"software": json.dumps({"name": "ai-toolkit", "version": "0.5"})},
}


@pytest.mark.parametrize("program", FOLDED)
def test_exporters_that_multiply_alpha_in(tmp_path, program):
    state = random_state(UNET, ATTENTION)
    path = tmp_path / "x.safetensors"
    save_file({f"unet.{name}": tensor for name, tensor in state.items()}, path, metadata=FOLDED[program])
    lora = read_lora(path, unet=UNET)
    assert (lora.settings.alpha, lora.settings.scale) == (3.0, 1.0)
    with pytest.raises(CourseError, match=f"a file of {program} has alpha = rank, not 1.5"):
        read_lora(path, unet=UNET, alpha=1.5)
    report = inspect_lora(path, unet=UNET)
    assert (report.alpha, report.alpha_in_file) == (3.0, False)
    assert any(program in note for note in report.notes)
    assert [tool.verdict for tool in report.tools[:2]] == ["yes", "yes"]


@pytest.mark.parametrize("program", FOLDED)
def test_an_alpha_that_they_do_write_is_believed(tmp_path, program):
    path = write_foreign(tmp_path, "kohya", UNET, random_state(UNET, ATTENTION), 1.5)
    save_file(load_file(path), path, metadata=FOLDED[program])
    assert read_lora(path, unet=UNET).settings.scale == 0.5


def test_without_a_word_both_possibilities_are_named(tmp_path):
    path = write_foreign(tmp_path, "diffusers", UNET, random_state(UNET, ATTENTION))
    with pytest.raises(
        CourseError, match=r"the one used in training.*; or 3, the rank, .*OneTrainer.*ai-toolkit"
    ):
        read_lora(path, unet=UNET)
    save_file(load_file(path), path, metadata={"ss_network_alpha": "1.5"})
    with pytest.raises(CourseError, match=r"speak of ss_network_alpha 1\.5"):
        read_lora(path, unet=UNET)


def test_equal_loras_are_equal_files(tmp_path):
    """safetensors alone writes metadata in another order each time; torch writes the file's own name into it."""
    said = {sign: sign for sign in "zyxwvutsrqponm"}
    lora = replace(random_lora(UNET, ATTENTION), metadata={"b": 1, "a": "水墨"}, foreign=said)
    for layout, suffix in SUFFIXES.items():
        files = [
            write_lora(tmp_path / f"{layout}{i}{suffix}", lora, layout, UNET).read_bytes() for i in range(3)
        ]
        assert files[0] == files[1] == files[2]
        if suffix == ".safetensors":
            kept = metadata_of(tmp_path / f"{layout}0{suffix}")
            assert json.loads(kept["kolors_course"])["a"] == "水墨"
            assert kept.items() >= said.items()
            head = json.loads(files[0][8 : 8 + int.from_bytes(files[0][:8], "little")])
            assert list(head["__metadata__"]) == sorted(head["__metadata__"])


def test_content_decides_and_not_the_name(tmp_path):
    state = {f"unet.{name}": tensor for name, tensor in random_state(UNET, ATTENTION).items()}
    save_file(state, tmp_path / "x.ckpt")
    torch.save(state, tmp_path / "y.safetensors")
    torch.save(state, tmp_path / "z.safetensors", _use_new_zipfile_serialization=False)
    for name in ("x.ckpt", "y.safetensors", "z.safetensors"):
        read = read_lora(tmp_path / name, alpha=1.5)
        assert all(torch.equal(tensor, state[f"unet.{name}"]) for name, tensor in read.state_dict.items())
