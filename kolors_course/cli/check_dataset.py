"""`kolors-course check-dataset`: what it does once its flags are read."""

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from kolors_course.cli.reports import write_json
from kolors_course.cli.tokens import token_counter
from kolors_course.dataset import (
    Filter,
    Report,
    check_dataset,
    export_data_juicer,
    fix_dataset,
    thumbnail_sheet,
)
from kolors_course.dataset.juicer import data_juicer_config
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors import RoundTrip, current_profile, load_round_trip
from kolors_course.platform.device import limit_threads, pick_device


def _round_trip(model: str | None) -> RoundTrip | None:
    """The VAE of the model at hand; the check goes on without it where there is none."""
    limit_threads()
    try:
        return load_round_trip(model or current_profile().present_folder(), pick_device())
    except CourseError as error:
        print(f"the pictures are not sent through a VAE: {error}")
        return None


@dataclass(frozen=True)
class _Checker:
    """What every folder of a run is checked with."""

    count_tokens: Callable[[str], int] | None
    round_trip: RoundTrip | None
    wanted: Filter

    def check(self, folder: Path) -> Report:
        side = current_profile().size
        with tqdm(desc="through the VAE", unit="picture", disable=None, leave=False) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            report = check_dataset(
                folder,
                training_size=(side, side),
                count_tokens=self.count_tokens,
                wanted=self.wanted,
                redraw=self.round_trip.psnr if self.round_trip else None,
                progress=progress,
            )
        print("\n".join(report.lines()))
        return report


def _refuse_early(arguments: argparse.Namespace, wanted: Filter) -> None:
    """What cannot be done in the end, before anything is looked at or written."""
    if arguments.juicer:
        data_juicer_config(wanted, arguments.juicer, arguments.juicer_also)
    elif arguments.juicer_also:
        raise CourseError("--juicer-also needs --juicer, the folder that it writes to")
    if arguments.sheet:
        kind = Image.registered_extensions().get(arguments.sheet.suffix.lower())
        try:
            Image.new("RGB", (16, 16)).save(io.BytesIO(), kind or "")
        except Exception as error:  # each kind says in its own way that it takes no such picture
            raise CourseError(
                f"--sheet {arguments.sheet}: no picture can be written with that ending; call it sheet.png"
            ) from error


def _nothing_passes(report: Report) -> bool:
    """Whether the report says that the filter leaves nothing to write."""
    return any((finding.topic, finding.verdict) == ("filter", "error") for finding in report.findings)


def run(arguments: argparse.Namespace) -> int:
    aspect = tuple(arguments.aspect) if arguments.aspect else None
    wanted = Filter(arguments.min_side, aspect, arguments.max_blur)
    _refuse_early(arguments, wanted)
    count_tokens = token_counter(arguments.model, "captions")
    round_trip = None if arguments.no_vae else _round_trip(arguments.model)
    checker = _Checker(count_tokens, round_trip, wanted)
    report = checker.check(arguments.dataset)
    facts = report.to_dict()
    write_json(arguments.json, facts)  # before anything that can fail
    if arguments.fix and not _nothing_passes(report):
        try:
            repair = fix_dataset(arguments.dataset, arguments.fix, wanted)
        except CourseError as error:
            if str(error) in report.problems:  # it is told
                return 2
            raise
        print("\n".join(repair.actions))
        print(f"wrote {repair.folder} with {repair.pictures} picture{'s' * (repair.pictures != 1)}")
        report = checker.check(repair.folder)
        facts["fixed"] = {"actions": repair.actions, **report.to_dict()}
        write_json(arguments.json, facts)
    if arguments.juicer:
        samples = tuple(report.samples.values())
        config = export_data_juicer(samples, wanted, arguments.juicer, arguments.juicer_also)
        print(f"wrote {config}; run: dj-process --config {config}")
    if arguments.sheet:
        with atomic_path(arguments.sheet) as path:
            thumbnail_sheet(report).save(path)
        print(f"wrote {arguments.sheet}")
    return 0 if report.ok else 2
