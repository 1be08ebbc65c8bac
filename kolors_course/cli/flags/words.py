"""List the words that Kolors-mini knows, in both languages; of a prompt, which it does not.

    kolors-course words
    kolors-course words --prompt "a unicorn in the forest"

Kolors-mini was trained on captions of picture-book scenes and has read nothing else. What you write with other words
it draws as something that it knows. Full Kolors has read the web.
"""

import argparse

from kolors_course.cli.flags import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", help="only list the words of this prompt that Kolors-mini does not know")
    shared.add_json(parser)
