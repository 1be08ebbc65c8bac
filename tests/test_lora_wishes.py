"""How a LoRA wants to be drawn: said in its metadata, followed by all that draws, kept by all that is made of it."""

import json
import shutil
import struct
from dataclasses import replace

import pytest
import tiny
from command_line import command, refused, tree
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kolors_course.cli import main
from kolors_course.comfyui.wires import StyledModel
from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, load_model, read_sampling
from kolors_course.kolors.settings import SAMPLING_FILE
from kolors_course.lora import combine_loras, read_lora, with_wishes, write_lora, write_wish
from kolors_course.lora.combine import combined_metadata
from kolors_course.lora.metadata import COURSE_METADATA_KEY
from kolors_course.lora.weights import merge_into_model
from kolors_course.lora.wishes import sampling_wish

BASE = Sampling(6, 2.0, "euler", "trailing", negative_prompt="x", batch_size=3)
WISH = Sampling(2, 1.0, "dpm++2m", "linspace")


@pytest.fixture
def lora(lora_file, tmp_path):
    return shutil.copyfile(lora_file, tmp_path / "copy.safetensors")


def saying(source, target, sampling):
    """A copy of a LoRA whose entry says `sampling`, rightly or not."""
    with safe_open(source, "pt") as file:
        metadata = dict(file.metadata())
    course = json.loads(metadata[COURSE_METADATA_KEY]) | {"sampling": sampling}
    save_file(load_file(source), target, metadata | {COURSE_METADATA_KEY: json.dumps(course)})
    return target


def test_a_file_that_says_nothing_changes_nothing(lora, tmp_path):
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    assert with_wishes(BASE, [lora, tmp_path / "no.safetensors", tmp_path / "absent.ckpt"]) == BASE


def test_what_a_file_names_goes_before_the_models_and_the_last_file_before_the_others(lora, tmp_path):
    first = saying(lora, tmp_path / "1.safetensors", {"steps": 3, "sampler": "unipc", "made_by": {}})
    last = saying(lora, tmp_path / "2.safetensors", {"steps": 4})
    assert with_wishes(BASE, [first]) == replace(BASE, steps=3, sampler="unipc")
    assert with_wishes(BASE, [first, last, lora]) == replace(BASE, steps=4, sampler="unipc")
    assert with_wishes(BASE, [last, first]).steps == 3
    distilled = saying(lora, tmp_path / "3.safetensors", {"sampler": "lcm"})
    assert with_wishes(BASE, [distilled]).spacing == "leading"


def test_a_wish_is_written_beside_tensors_that_keep_every_bit(lora):
    def parts():
        data = lora.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        return header.pop("__metadata__"), header, data[8 + length :], length % 8

    before = parts()
    write_wish(lora, WISH, {"command": "sweep"})
    after = parts()
    assert after[1:] == (*before[1:3], 0)
    course = json.loads(after[0].pop(COURSE_METADATA_KEY))
    assert course.pop("sampling") == WISH.said | {"made_by": {"command": "sweep"}}
    assert course == json.loads(before[0].pop(COURSE_METADATA_KEY))
    assert after[0] == before[0]
    assert with_wishes(BASE, [lora]) == BASE.but(**WISH.said)
    write_wish(lora, replace(WISH, steps=3))
    assert sampling_wish(lora)["steps"] == 3
    assert read_lora(lora).settings == read_lora(lora).settings


def test_a_wish_cannot_be_written_into_what_is_no_safetensors_file(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(CourseError, match="cut short or not a safetensors file"):
        write_wish(path, WISH)
    assert path.read_bytes() == b"nothing"
    assert tree(tmp_path) == {"x.safetensors"}


@pytest.mark.parametrize("bad", [3, {"steps": 0}, {"batch_size": 2}, {"sampler": "magic"}])
@pytest.mark.usefixtures("tiny_profile")
def test_a_bad_wish_is_one_line_before_anything_is_drawn(capsys, lora, tmp_path, bad):
    path = saying(lora, tmp_path / "bad.safetensors", bad)
    error = refused(capsys, "generate", "--prompt", "x", "--lora", path, "-o", tmp_path / "out.png")
    assert "bad.safetensors: its entry sampling" in error
    assert not (tmp_path / "out.png").exists()


@pytest.mark.usefixtures("tiny_profile")
def test_the_command_line_follows_model_then_lora_then_flags(lora, tmp_path):
    def facts(*flags):
        output = tmp_path / "out.png"
        assert main(command("generate", "--prompt", "夜晚", "-o", output, *flags)) == 0
        text = Image.open(output).text
        return [text[name] for name in ("steps", "guidance", "sampler", "spacing")]

    assert facts() == ["4", "2.0", "euler", "trailing"]
    write_wish(lora, WISH)
    assert facts("--lora", lora) == ["2", "1.0", "dpm++2m", "linspace"]
    assert facts("--lora", lora, "--steps", 3, "--guidance", 2) == ["3", "2.0", "dpm++2m", "linspace"]
    assert facts("--sampler", "lcm", "--steps", 1) == ["1", "2.0", "lcm", "leading"]


@pytest.mark.usefixtures("tiny_profile")
def test_what_a_lora_wants_is_told(capsys, lora, tmp_path):
    saying(lora, tmp_path / "1.safetensors", {"steps": 1, "guidance_scale": 1, "made_by": {"commit": "1"}})
    assert main(command("inspect-lora", tmp_path / "1.safetensors")) == 0
    assert "note    drawn with steps 1, guidance_scale 1, unless" in capsys.readouterr().out
    line = ("generate", "--prompt", "夜晚", "-o", tmp_path / "out.png", "--lora")
    assert main(command(*line, tmp_path / "1.safetensors")) == 0
    assert ", strength 1, wants steps 1, guidance_scale 1\n" in capsys.readouterr().out
    assert main(command(*line, lora)) == 0
    assert ", strength 1\n" in capsys.readouterr().out


def test_a_node_with_the_lora_follows_it_and_the_model_before_it_stays(lora, tiny_folder):
    model = load_model(tiny_folder)
    plain = StyledModel(model, model)
    write_wish(lora, WISH)
    styled, _ = plain.with_lora(lora, 1.0)
    assert styled.model.sampling.said == WISH.said
    assert plain.model.sampling == styled.base.sampling == tiny.SAMPLING


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_a_converted_file_says_it_still(lora, tmp_path, tiny_model, layout):
    write_wish(lora, WISH)
    write_lora(tmp_path / "new.safetensors", read_lora(lora), layout, tiny_model.unet)
    assert with_wishes(BASE, [tmp_path / "new.safetensors"]) == BASE.but(**WISH.said)


def test_a_combined_file_says_what_both_say_together(lora, tmp_path):
    first = read_lora(saying(lora, tmp_path / "1.safetensors", {"steps": 3, "spacing": "linspace"}))
    last = read_lora(saying(lora, tmp_path / "2.safetensors", {"steps": 4, "made_by": {"commit": "1"}}))
    course, _ = combined_metadata([(first, 1.0), (last, 0.5)])
    assert course["sampling"] == {"steps": 4, "spacing": "linspace"}
    plain = read_lora(lora)
    assert "sampling" not in combined_metadata([(plain, 1.0), (plain, 0.5)])[0]
    assert combine_loras([(first, 1.0), (last, 0.5)]).settings.rank == 4


def test_a_merged_model_carries_the_file_and_what_its_loras_want(lora, tiny_folder, tmp_path):
    merge_into_model(tiny_folder, [(read_lora(lora), 1.0)], tmp_path / "plain")
    assert (tmp_path / "plain" / SAMPLING_FILE).read_bytes() == (tiny_folder / SAMPLING_FILE).read_bytes()
    saying(lora, tmp_path / "1.safetensors", {"steps": 3})
    merge_into_model(tiny_folder, [(read_lora(tmp_path / "1.safetensors"), 1.0)], tmp_path / "merged")
    assert read_sampling(tmp_path / "merged" / SAMPLING_FILE) == replace(tiny.SAMPLING, steps=3)


def test_an_extracted_lora_says_what_the_tuned_model_wants_otherwise(lora, tiny_folder, tmp_path):
    saying(lora, tmp_path / "1.safetensors", {"steps": 3})
    for name, file in (("same", lora), ("other", tmp_path / "1.safetensors")):
        merge_into_model(tiny_folder, [(read_lora(file), 1.0)], tmp_path / name)
        line = ("extract-lora", tiny_folder, tmp_path / name, "--rank", 1, "--device", "cpu")
        assert main(command(*line, "-o", tmp_path / f"{name}.safetensors")) == 0
    assert sampling_wish(tmp_path / "same.safetensors") == {}
    assert sampling_wish(tmp_path / "other.safetensors") == replace(tiny.SAMPLING, steps=3).said
