"""`kolors-course comfyui run`: a workflow goes to a server, its pictures come into a folder."""

import argparse
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, count
from pathlib import Path

from tqdm.auto import tqdm

from kolors_course.cli import lora_files
from kolors_course.cli.comfyui_setup import device_flags, ready_installation, tell
from kolors_course.comfyui.camp import TrainedAlpha, import_camp, is_camp_workflow
from kolors_course.comfyui.client import ComfyClient, NodeProgress, Picture
from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.graph import ApiGraph, format_of, read_ui, read_workflow
from kolors_course.comfyui.server import borrowed_server, prepare_base, running_server
from kolors_course.comfyui.validate import require_valid
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.kolors import current_profile
from kolors_course.lora.reading import open_lora

MOST_OF_A_NAME = 160  # bytes, of a saved picture; systems allow 255


def run_workflow(arguments: argparse.Namespace) -> int:
    """Run the workflow of the command line; its exit status."""
    if arguments.server is not None and arguments.source != "auto":
        raise CourseError(
            "--source has no effect with --server, which is installed already; leave one of them out"
        )
    workflow = read_workflow(arguments.workflow)
    if format_of(workflow) == "ui":
        read_ui(workflow, str(arguments.workflow))  # damage is found before a server starts
    if arguments.lora and not arguments.lora.is_file():
        raise CourseError(f"--lora {arguments.lora}: there is no such file")
    if arguments.lora and is_camp_workflow(workflow):  # what it lacks is asked for before a server is started
        _alpha_of(str(arguments.lora), arguments.alpha)
    ensure_folder(arguments.output)
    with _server_for(arguments) as url:
        client = ComfyClient(url)
        api = _prepare(workflow, client, arguments)
        page = workflow if format_of(workflow) == "ui" and not is_camp_workflow(workflow) else None
        _draw(client, api, page, arguments.output)
    return 0


@contextmanager
def _server_for(arguments: argparse.Namespace) -> Iterator[str]:
    """The address of the server to use: the one named, the running one, or one for this run only."""
    if arguments.server is not None:
        yield arguments.server
        return
    base = arguments.folder / "base"
    # A running one is used even where its installation would have to be renewed for a new start.
    installation = None if running_server(base) else ready_installation(arguments)
    with borrowed_server(base, installation, device_flags(), tell) as server:
        yield server.url


def _prepare(workflow: dict, client: ComfyClient, arguments: argparse.Namespace) -> ApiGraph:
    """The workflow in API format, valid on that server; the camp's becomes one of ours."""
    schemas = client.schemas()
    if is_camp_workflow(workflow):
        alpha_of = partial(_alpha_of, alpha=arguments.alpha)
        imported = import_camp(workflow, schemas, current_profile().name, arguments.lora, alpha_of)
        for note in imported.notes:
            print(f"note: {note}")
        api = imported.api
        links = [_offer_lora(name, Path(path), arguments) for name, path in imported.loras.items()]
        schemas = client.schemas() if any(links) else schemas
    else:
        api = to_api(workflow, schemas) if format_of(workflow) == "ui" else workflow
    require_valid(api, schemas)
    return api


def _alpha_of(path: str, alpha: float | None) -> TrainedAlpha | None:
    """What the file says, or else the alpha given.

    Raises:
        CourseError: the file lies here and does not say its alpha, and none was given; or it cannot be read.
    """
    if not Path(path).is_file():  # it may be the server's
        return None if alpha is None else TrainedAlpha(alpha, in_file=False)
    lora, unet = lora_files.read_fitting(path, None, alpha)
    in_file = open_lora(path, unet).alphas is not None
    return TrainedAlpha(lora.settings.plain_alpha, in_file)


def _offer_lora(name: str, path: Path, arguments: argparse.Namespace) -> bool:
    """Put a LoRA file among those of the server that runs here; whether it is there now."""
    # Unlike Path.is_file, this is also False for names that are too long.
    if arguments.server or not os.path.isfile(path):
        return False
    prepare_base(arguments.folder / "base")
    with atomic_path(arguments.folder / "base" / "models" / "loras" / name) as link:
        try:
            os.symlink(path.resolve(), link)
        except OSError:  # Windows allows links to administrators only
            shutil.copyfile(path, link)
    return True


def _draw(client: ComfyClient, api: ApiGraph, page: dict | None, output: Path) -> None:
    saved: set[str] = set()
    bars: dict[str, tqdm] = {}
    with closing(client.run(api, page)) as events:  # an error in here stops the run on the server too
        for event in events:
            if isinstance(event, NodeProgress):
                if event.node not in bars:
                    bars[event.node] = tqdm(total=event.total, desc=event.title, disable=None)
                bars[event.node].update(event.value - bars[event.node].n)
            if isinstance(event, Picture):
                for bar in bars.values():
                    bar.close()
                data = client.picture_bytes(event)
                path = output / _file_name(event, saved)
                with atomic_path(path) as new:
                    new.write_bytes(data)
                saved.add(path.name)
                print(f"wrote {path}")
    if not saved:
        raise CourseError("the workflow ran, but no node of it saved or previewed a picture")


def _file_name(picture: Picture, taken: set[str]) -> str:
    """A name of our own choice: a server must not choose a folder of this machine, nor a hidden or odd file.

    Two pictures of one run may have the same name, in different folders of the server.
    """
    name = re.split(r"[/\\]", picture.filename)[-1]
    name = "".join(letter if letter.isprintable() and letter not in '<>:"|?*' else "_" for letter in name)
    # With room for the ending of a name that is taken, and for what is added while it is written.
    end = name.lstrip(".").encode("utf-8", "replace")[-MOST_OF_A_NAME:].decode("utf-8", "ignore")
    path = Path(end or "picture.png")
    numbers = (f"{path.stem}-{number}{path.suffix}" for number in count(2))
    return next(name for name in chain([path.name], numbers) if name not in taken)
