"""`kolors-course doctor`: what it does once its flags are read."""

import argparse

from kolors_course.cli.reports import write_json
from kolors_course.platform.doctor import examine, report_dict, report_lines


def run(arguments: argparse.Namespace) -> int:
    checks = examine()
    print("\n".join(report_lines(checks)))
    write_json(arguments.json, report_dict(checks))
    return 0
