"""Handing a dataset to data-juicer, with the camp's filters as its YAML (arXiv 2309.02033)."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from kolors_course.dataset.choices import MORE_STEPS
from kolors_course.dataset.filters import Filter
from kolors_course.dataset.reader import Sample
from kolors_course.errors import CourseError, is_whole
from kolors_course.files import atomic_path

INPUT_NAME, CONFIG_NAME, RESULT_NAME = "input.jsonl", "config.yaml", "result.jsonl"


def export_data_juicer(
    samples: Sequence[Sample], wanted: Filter, folder: str | Path, more: Sequence[str] = ()
) -> Path:
    """Write `folder`/input.jsonl and config.yaml; `dj-process --config` with it writes result.jsonl beside them.

    Args:
        more: names of `MORE_STEPS`, in their order.

    Raises:
        CourseError: there is nothing to filter by, a step is unknown, a name is not UTF-8, or `folder` cannot be
            written to.
    """
    folder = Path(folder)
    config = data_juicer_config(wanted, folder, more)
    for place in (folder, *(sample.path for sample in samples)):
        if not is_whole(str(place)):
            raise CourseError(
                f"the name of {place} is not UTF-8, and data-juicer reads no other; rename it, or use --fix"
            )
    lines = [
        json.dumps({"text": sample.text, "image": [str(sample.path.resolve())]}, ensure_ascii=False) + "\n"
        for sample in samples
    ]
    with atomic_path(folder / INPUT_NAME) as path:
        path.write_text("".join(lines), encoding="utf-8")
    with atomic_path(folder / CONFIG_NAME) as path:
        path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder / CONFIG_NAME


def data_juicer_config(wanted: Filter, folder: Path, more: Sequence[str] = ()) -> dict:
    """The camp's configuration, with the filter `wanted` and the steps `more`.

    Names and meanings are those of data-juicer's `image_shape_filter` and `image_aspect_ratio_filter`. Each sample
    has one picture, so `any_or_all` makes no difference.

    Raises:
        CourseError: `wanted` is empty and `more` too, or a step of `more` is unknown.
    """
    process: list[dict[str, dict]] = []
    if wanted.min_side is not None:
        sides = {"min_width": wanted.min_side, "min_height": wanted.min_side}
        process.append({"image_shape_filter": {**sides, "any_or_all": "any"}})
    if wanted.aspect is not None:
        low, high = wanted.aspect
        ratios = {"min_ratio": low, "max_ratio": high}
        process.append({"image_aspect_ratio_filter": {**ratios, "any_or_all": "any"}})
    if unknown := [name for name in more if name not in MORE_STEPS]:
        raise CourseError(f"'{unknown[0]}' is not one of the steps {', '.join(MORE_STEPS)}")
    process += [{name: dict(MORE_STEPS[name])} for name in more]
    if not process:
        raise CourseError(
            "nothing to filter by; give --min-side or --aspect, such as the camp's 1024 and 0.5 2"
        )
    return {
        "project_name": "data-process",
        "dataset_path": str((folder / INPUT_NAME).resolve()),
        "np": 4,
        "text_keys": "text",
        "image_key": "image",
        "image_special_token": "<__dj__image>",
        "export_path": str((folder / RESULT_NAME).resolve()),
        "process": process,
    }
