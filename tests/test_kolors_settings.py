"""How a model is drawn where nobody says otherwise: `sampling.json`, or the published settings."""

import json
import shutil
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
import tiny
from command_line import refused
from diffusers import KolorsPipeline

from kolors_course.cli.adopt import recommended_sampling
from kolors_course.errors import CourseError
from kolors_course.kolors import (
    PUBLISHED,
    Sampling,
    diffusers_layout,
    generate,
    load_model,
    read_sampling,
    three_paths,
    write_sampling,
)
from kolors_course.kolors.calls import planned_calls
from kolors_course.kolors.configs import KOLORS_SCHEDULER
from kolors_course.kolors.settings import SAID, SAMPLING_FILE
from kolors_course.lora import with_wishes
from kolors_course.mini.saving import save_mini
from kolors_course.platform.paths import REPOSITORY, data_dir

GOOD = {"steps": 6, "guidance_scale": 2, "sampler": "dpm++2m", "spacing": "trailing"}


def written(folder, value):
    path = folder / SAMPLING_FILE
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_the_published_settings_are_those_of_the_stock_pipeline():
    defaults = signature(KolorsPipeline.__call__).parameters
    assert Sampling() == PUBLISHED
    assert (PUBLISHED.steps, PUBLISHED.guidance_scale) == (
        defaults["num_inference_steps"].default,
        defaults["guidance_scale"].default,
    )
    assert (PUBLISHED.sampler, PUBLISHED.spacing) == ("euler", KOLORS_SCHEDULER["timestep_spacing"])


def test_a_file_is_read_and_what_it_was_made_by_is_for_people(tmp_path):
    path = written(tmp_path, GOOD | {"made_by": {"command": "anything", "commit": None}})
    assert read_sampling(path) == Sampling(6, 2.0, "dpm++2m", "trailing")
    assert isinstance(read_sampling(path).guidance_scale, float)
    assert read_sampling(tmp_path / "none.json") == read_sampling(None) == PUBLISHED


def test_what_is_written_is_read_again(tmp_path):
    sampling = Sampling(7, 1.5, "lcm")
    path = write_sampling(tmp_path, replace(sampling, size=(64, 32), batch_size=3, negative_prompt="x"))
    assert read_sampling(path) == sampling
    assert set(json.loads(path.read_text(encoding="utf-8"))) == set(SAID)
    write_sampling(tmp_path, sampling, {"command": "sweep"})
    assert json.loads(path.read_text(encoding="utf-8"))["made_by"] == {"command": "sweep"}


BAD = {
    "no JSON": "{",
    "a list": [1],
    "steps of 0": GOOD | {"steps": 0},
    "half a step": GOOD | {"steps": 2.5},
    "a truth": GOOD | {"steps": True},
    "steps as text": GOOD | {"steps": "6"},
    "infinite guidance": '{"steps": 6, "guidance_scale": Infinity, "sampler": "euler", "spacing": "leading"}',
    "no such sampler": GOOD | {"sampler": "magic"},
    "no such spacing": GOOD | {"spacing": ["leading"]},
    "another name": GOOD | {"guidance": 2},
    "a request's own": GOOD | {"batch_size": 2},
    "too little": {"steps": 6, "sampler": "euler", "spacing": "leading"},
    "timesteps of its own": GOOD | {"sampler": "lcm"},
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_is_one_clear_message(tmp_path, bad):
    path = written(tmp_path, BAD[bad])
    with pytest.raises(CourseError) as refusal:
        read_sampling(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


@pytest.fixture
def model_folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.mark.parametrize("word", ["generate", "sweep", "evaluate"])
def test_commands_refuse_a_model_with_a_bad_file(capsys, model_folder, tmp_path, word):
    written(model_folder, GOOD | {"steps": 0})
    flags = {"generate": ("--prompt", "x"), "sweep": ("--prompt", "x", "--x", "steps=1"), "evaluate": ()}[
        word
    ]
    error = refused(capsys, word, *flags, "--model", model_folder, "-o", tmp_path / "out.png")
    assert "sampling.json: steps must be a whole number from 1 to 1,000, not 0" in error
    with pytest.raises(CourseError, match="steps must be"):
        load_model(model_folder)


def test_a_model_is_drawn_as_its_file_says(model_folder, tiny_model):
    assert tiny_model.sampling == tiny.SAMPLING
    draw = lambda model, *sampling: np.asarray(generate(model, ["a cat"], [0], *sampling)[0])  # noqa: E731
    own = draw(tiny_model)
    assert np.array_equal(own, draw(tiny_model, tiny.SAMPLING))
    assert not np.array_equal(own, draw(tiny_model, Sampling(4)))
    (model_folder / SAMPLING_FILE).unlink()
    assert load_model(model_folder).sampling == PUBLISHED


def test_the_camps_three_paths_find_the_file_of_the_same_folder(tiny_folder):
    weights = "diffusion_pytorch_model.safetensors"
    paths = three_paths(
        tiny_folder / "unet" / weights, tiny_folder / "text_encoder", tiny_folder / "vae" / weights
    )
    assert (
        read_sampling(paths.sampling)
        == read_sampling(diffusers_layout(tiny_folder).sampling)
        == tiny.SAMPLING
    )


def test_a_saved_model_keeps_its_own(tiny_folder, tmp_path):
    save_mini(load_model(tiny_folder), tmp_path / "again")
    assert load_model(tmp_path / "again").sampling == tiny.SAMPLING


def test_changes_keep_the_rest_and_a_sampler_without_spacings_takes_none_over():
    trailing = Sampling(6, 2.0, "euler", "trailing", negative_prompt="x")
    assert trailing.but(steps=4) == replace(trailing, steps=4)
    assert trailing.but(sampler="unipc").spacing == "trailing"
    assert trailing.but(sampler="lcm").spacing == "leading"
    assert trailing.but(sampler="lcm", spacing="trailing").spacing == "trailing"  # refused when it is drawn


MINI = data_dir() / "kolors-mini" / SAMPLING_FILE
TABLES = REPOSITORY / "docs" / "sampling"  # what `sweep --recommend` measured


def test_kolors_mini_is_drawn_in_few_steps():
    assert read_sampling(MINI).steps <= 10


def worse_than_recommended(table: str, sampling: Sampling) -> dict[str, float]:
    """In what the row of `sampling` lies below the 95 % interval of the row that a table recommends."""
    report = json.loads((TABLES / f"{table}.json").read_text(encoding="utf-8"))
    (row,) = (
        row for row in report["cells"] if recommended_sampling({"recommended": row}).said == sampling.said
    )
    best = report["recommended"]["measured"]
    assert row["measured"].keys() == best.keys()
    return {
        name: value["value"]
        for name, value in row["measured"].items()
        if value["value"] < best[name]["low"] - 1e-9
    }


def test_kolors_mini_is_drawn_as_well_as_its_table_recommends():
    """And with no more network calls: what differs by less than the intervals is no reason to change a default."""
    sampling = read_sampling(MINI)
    report = json.loads((TABLES / "kolors-mini.json").read_text(encoding="utf-8"))
    assert planned_calls(sampling) <= report["recommended"]["network_calls"]
    assert not worse_than_recommended("kolors-mini", sampling)
    assert worse_than_recommended("kolors-mini", sampling.but(guidance_scale=5.0))
    assert worse_than_recommended("kolors-mini", sampling.but(steps=2))


@pytest.mark.parametrize(
    "lora", sorted((data_dir() / "loras").glob("*.safetensors")), ids=lambda path: path.stem
)
def test_a_committed_lora_is_drawn_as_well_as_its_table_recommends(lora):
    assert not worse_than_recommended(lora.stem, with_wishes(read_sampling(MINI), [lora]))
