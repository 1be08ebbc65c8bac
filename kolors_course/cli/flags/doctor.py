"""Look at this machine: versions, device, memory, fonts, data, and what will run here."""

import argparse

from kolors_course.cli.flags import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    shared.add_json(parser)
