"""Upload a bundle to ModelScope. Without --yes it only shows what it would upload, and where to.

kolors-course publish outputs/bundle --repo my-name/my-lora
kolors-course publish outputs/bundle --repo my-name/my-lora --visibility public --yes

The token comes from $MODELSCOPE_API_TOKEN, or from `modelscope login`; it is never a flag and never shown.
Needs the package modelscope-hub.
"""

import argparse
from pathlib import Path

from kolors_course.platform.hub import VISIBILITIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a folder that kolors-course bundle wrote")
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="the model on ModelScope")
    parser.add_argument(
        "--visibility",
        choices=VISIBILITIES,
        default="private",
        help="of a repository that is made (default %(default)s)",
    )
    parser.add_argument("--yes", action="store_true", help="upload; without it nothing leaves this machine")
