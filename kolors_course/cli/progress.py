"""`kolors-course progress`: what it does once its flags are read."""

import argparse
from datetime import date
from pathlib import Path

from kolors_course.cli.reports import write_json
from kolors_course.errors import CourseError
from kolors_course.exercises.certificate import certificate_page
from kolors_course.exercises.progress import forget_passed, progress_file, read_passed
from kolors_course.exercises.standing import Standing
from kolors_course.files import atomic_path


def run(arguments: argparse.Namespace) -> int:
    _refuse_early(arguments)
    if arguments.forget:
        forget_passed()
        print(f"forgotten: {progress_file()} is deleted")
        return 0
    standing = Standing(read_passed())
    page = (
        certificate_page(standing, arguments.certificate, date.today())
        if arguments.certificate is not None
        else ""
    )
    print("\n".join(standing.lines()))
    print(f"\nTo share · 打卡：\n\n{standing.share_text()}")
    write_json(arguments.json, {**standing.to_dict(), "share": standing.share_text()})
    if page:
        path = arguments.output or Path("outputs/certificate.html")
        with atomic_path(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
        print(f"\nwrote {path}")
    return 0


def _refuse_early(arguments: argparse.Namespace) -> None:
    if arguments.output and arguments.certificate is None:
        raise CourseError("-o is where the certificate goes; add --certificate NAME")
    if arguments.forget and (arguments.certificate is not None or arguments.json):
        raise CourseError("--forget does nothing else; leave out --certificate and --json")
    if arguments.forget and not arguments.yes:
        raise CourseError(
            f"--forget deletes {progress_file()} and cannot be undone; add --yes if you mean it"
        )
    if arguments.yes and not arguments.forget:
        raise CourseError("--yes belongs to --forget; leave it out")
