"""`kolors-course caption`: what it does once its flags are read."""

import argparse

from kolors_course.captioner import Captioner, CaptionJob, caption_folder, load_captioner, load_vlm
from kolors_course.captioner.folder import check_job
from kolors_course.captioner.vlm import TRIES
from kolors_course.cli import options
from kolors_course.cli.reports import write_json
from kolors_course.errors import CourseError
from kolors_course.platform.device import limit_threads, pick_device

SHOWN = 3  # captions that are printed


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    if arguments.tries and not arguments.vlm:
        raise CourseError("--tries is for --vlm; the course's own captioner always answers")
    job = CaptionJob(
        arguments.folder,
        arguments.language,
        arguments.length,
        arguments.format,
        arguments.style.strip(),
        arguments.overwrite,
    )
    pictures, target = check_job(job), job.target
    captioner = _captioner(arguments)
    captions = caption_folder(job, captioner, options.picture_progress(len(pictures), "captioning"))
    for name, text in list(captions.items())[:SHOWN]:
        print(f"{name}: {text}")
    print(f"wrote {target}: {len(captions)} caption{'s'[: len(captions) != 1]} by {captioner.name}")
    write_json(
        arguments.json,
        {
            "metadata": str(target),
            "captioner": captioner.name,
            "language": job.language,
            "length": job.length,
            "captions": [{"file_name": name, "text": text} for name, text in captions.items()],
        },
    )
    return 0


def _captioner(arguments: argparse.Namespace) -> Captioner:
    device = pick_device(arguments.device)
    if arguments.vlm:
        return load_vlm(arguments.vlm, device, arguments.tries or TRIES)
    return load_captioner(arguments.captioner, device)
