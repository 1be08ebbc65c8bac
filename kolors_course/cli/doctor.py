"""Look at this machine: versions, device, memory, fonts, data, and what will run here."""

import argparse

from kolors_course.cli.options import add_json, write_json
from kolors_course.platform.doctor import examine, report_dict, report_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    checks = examine()
    print("\n".join(report_lines(checks)))
    write_json(arguments.json, report_dict(checks))
    return 0
