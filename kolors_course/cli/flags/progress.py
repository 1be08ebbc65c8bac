"""Show which exercises of the notebooks you have passed: the map, and a text to share (打卡).

    kolors-course progress
    kolors-course progress --certificate "Ada Lovelace" -o outputs/certificate.html

Right answers are noted in outputs/progress.json of this machine (or in the file that KOLORS_COURSE_PROGRESS names) as
you run the notebooks; nothing is sent. What you have passed stays passed. The certificate is one HTML page in both
languages, to be printed or sent as it is; it says that the exercises are checked by the course alone.
"""

import argparse

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.outputs import output_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--certificate", metavar="NAME", help="write a certificate page for this name")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=output_file(".html", ".htm"),
        help="where the certificate goes (default outputs/certificate.html)",
    )
    shared.add_json(parser)
    parser.add_argument("--forget", action="store_true", help="start anew: delete what is noted; needs --yes")
    parser.add_argument("--yes", action="store_true", help="--forget is meant")
