"""Install, start and stop a ComfyUI with the course's nodes, and run workflows in it.

kolors-course comfyui install
kolors-course comfyui start
kolors-course comfyui run kolors_with_lora_example.json --lora outputs/my-lora/lora.safetensors
kolors-course comfyui stop

Ctrl-C, SIGTERM and a closed terminal end a command in order: `run` takes its workflow out of the server's queue or
interrupts it, and leaves no half-written picture. The exit status is then 130, 143 or 129.
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import number
from kolors_course.cli.flags.outputs import output_folder
from kolors_course.comfyui.install import SOURCES
from kolors_course.ranges import whole

ACTIONS = {
    "install": "install ComfyUI, or what is missing of it",
    "start": "start it on this machine (and install it first)",
    "run": "run a workflow and save its pictures",
    "stop": "stop it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    parsers = {name: actions.add_parser(name, help=text, description=text) for name, text in ACTIONS.items()}
    for action in parsers.values():
        action.add_argument(
            "--folder", type=Path, help="where ComfyUI is installed (default: outputs/comfyui)"
        )
        action.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    for name in ("install", "start", "run"):
        parsers[name].add_argument(
            "--source",
            choices=SOURCES,
            default="auto",
            help="where its code comes from (default %(default)s)",
        )
    _add_start(parsers["start"])
    _add_run(parsers["run"])


def _add_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=number(whole(1024, 65535)), help="default: 8188, or a free one")
    parser.add_argument(
        "--origin",
        metavar="URL",
        help="also serve the page that your proxy (JupyterHub, a gateway, nginx) shows at this address, such as "
        "https://host; pages of all other hosts are refused",
    )
    parser.add_argument(
        "--public-tunnel",
        action="store_true",
        help="DANGER: let the whole internet use it, through cloudflared, until you press Ctrl-C",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workflow",
        type=Path,
        help="JSON in UI or API format, a picture that ComfyUI saved, or the camp's workflow",
    )
    parser.add_argument("--lora", type=Path, metavar="FILE", help="LoRA file for the camp's workflow")
    shared.add_alpha(parser)
    parser.add_argument(
        "--server", metavar="URL", help="a ComfyUI that runs elsewhere (default: that of --folder)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=output_folder,
        default="outputs/pictures",
        help="folder for pictures (default %(default)s)",
    )
