"""The camp's filters, and their export to data-juicer."""

import json

import pytest
import yaml
from PIL import Image

from kolors_course.dataset import Filter, export_data_juicer, read_dataset, write_dataset
from kolors_course.errors import CourseError

CAMP = Filter(1024, (0.5, 2.0))


@pytest.mark.parametrize(
    ("size", "fault"),
    [
        ((1024, 1024), ""),
        ((2048, 1024), ""),
        ((1024, 2048), ""),
        ((1023, 1024), "1023x1024 is smaller than 1024x1024"),
        ((4000, 600), "4000x600 is smaller than 1024x1024"),
        ((2049, 1024), "width / height 2 is not within 0.5 to 2"),
        ((1024, 4096), "width / height 0.25 is not within 0.5 to 2"),
    ],
)
def test_the_camps_filter(size, fault):
    assert CAMP.fault(size) == fault


def test_an_empty_filter_keeps_everything():
    assert not Filter()
    assert Filter().fault((1, 1000)) == ""
    assert Filter(min_side=1)
    assert Filter(aspect=(1, 1))


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"min_side": 0}, "smallest side 0: give at least 1 pixel"),
        ({"aspect": (2, 0.5)}, "aspect 2 to 0.5: give the least and then the greatest"),
        ({"aspect": (0, 2)}, "aspect 0 to 2"),
        ({"aspect": (0.5, float("inf"))}, "aspect 0.5 to inf"),
        ({"aspect": (float("nan"), 2)}, "aspect nan to 2"),
    ],
)
def test_filters_that_make_no_sense(arguments, fault):
    with pytest.raises(CourseError, match=fault):
        Filter(**arguments)


def test_export_to_data_juicer(tmp_path):
    dataset = read_dataset(write_dataset(tmp_path / "set", [(Image.new("RGB", (9, 9)), "二次元")]))
    folder = tmp_path / "juicer"
    path = export_data_juicer(dataset.samples, CAMP, folder)
    text = path.read_text(encoding="utf-8")
    # The camp's cell, with this folder's paths.
    assert yaml.safe_load(text) == yaml.safe_load(f"""
        project_name: 'data-process'
        dataset_path: '{folder / "input.jsonl"}'
        np: 4
        text_keys: 'text'
        image_key: 'image'
        image_special_token: '<__dj__image>'
        export_path: '{folder / "result.jsonl"}'
        process:
            - image_shape_filter:
                min_width: 1024
                min_height: 1024
                any_or_all: any
            - image_aspect_ratio_filter:
                min_ratio: 0.5
                max_ratio: 2.0
                any_or_all: any
        """)
    lines = (folder / "input.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"text": "二次元", "image": [str(tmp_path / "set" / "train" / "000.png")]}
    ]


def test_only_what_is_wanted_is_exported(tmp_path):
    config = yaml.safe_load(export_data_juicer([], Filter(aspect=(0.5, 2)), tmp_path / "a").read_text())
    assert [list(step) for step in config["process"]] == [["image_aspect_ratio_filter"]]
    config = yaml.safe_load(export_data_juicer([], Filter(min_side=512), tmp_path / "b").read_text())
    assert config["process"] == [
        {"image_shape_filter": {"min_width": 512, "min_height": 512, "any_or_all": "any"}}
    ]
    with pytest.raises(CourseError, match="nothing to filter by; give --min-side or --aspect"):
        export_data_juicer([], Filter(), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_steps_of_data_juicer_besides(tmp_path):
    """Names and arguments as in its documentation of the operators."""
    more = ["image_deduplicator", "image_aesthetics_filter", "image_size_filter"]
    config = yaml.safe_load(export_data_juicer([], Filter(), tmp_path / "a", more).read_text())
    assert [list(step) for step in config["process"]] == [[name] for name in more]
    arguments = {name: set(values) for step in config["process"] for name, values in step.items()}
    assert arguments == {
        "image_deduplicator": {"method", "consider_text"},
        "image_aesthetics_filter": {"hf_scorer_model", "min_score", "max_score", "any_or_all"},
        "image_size_filter": {"min_size", "max_size", "any_or_all"},
    }
    with pytest.raises(CourseError, match="'blur' is not one of the steps image_size_filter"):
        export_data_juicer([], Filter(), tmp_path / "b", ["blur"])
    assert not (tmp_path / "b").exists()
