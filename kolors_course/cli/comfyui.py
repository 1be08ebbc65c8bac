"""`kolors-course comfyui`: what it does once its flags are read."""

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

from kolors_course.comfyui.access import gateway_path, public_tunnel
from kolors_course.comfyui.camp import import_camp, is_camp_workflow
from kolors_course.comfyui.client import ComfyClient, Picture, Step
from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.graph import ApiGraph, format_of, read_workflow
from kolors_course.comfyui.install import Installation, default_folder, find_installation, install
from kolors_course.comfyui.server import log_file, prepare_base, running_server, start_server, stop_server
from kolors_course.comfyui.validate import require_valid
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.kolors import current_profile
from kolors_course.platform.device import pick_device


def run(arguments: argparse.Namespace) -> int:
    arguments.folder = (arguments.folder or default_folder()).resolve()
    return _RUN[arguments.action](arguments)


def _install(arguments: argparse.Namespace) -> Installation:
    ready = find_installation(arguments.folder)
    installation = ready or install(arguments.folder, arguments.source, print)
    if not ready:
        print(f"ComfyUI {installation.version} is installed in {arguments.folder}")
    return installation


def _run_install(arguments: argparse.Namespace) -> int:
    if find_installation(arguments.folder):
        print(f"ComfyUI is already installed in {arguments.folder}")
    _install(arguments)
    return 0


def _run_start(arguments: argparse.Namespace) -> int:
    installation = _install(arguments)
    flags = _flags() + (("--enable-cors-header", arguments.origin) if arguments.origin else ())
    server = start_server(installation, arguments.port, flags)
    print(f"ComfyUI answers at {server.url}; it says more in {log_file(installation.base)}")
    path = gateway_path(server.port)
    if path:
        print(f"in your browser: https://<host in the address of this notebook's page>{path}")
    if arguments.public_tunnel:
        _hold_tunnel(server.url)
    return 0


def _hold_tunnel(url: str) -> None:
    print("WARNING: everybody who learns the next address can use this machine's ComfyUI, without a password")
    with public_tunnel(url) as address:
        print(f"{address} leads here until you press Ctrl-C", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print("the tunnel is closed; ComfyUI goes on: kolors-course comfyui stop")


def _run_stop(arguments: argparse.Namespace) -> int:
    stopped = stop_server(arguments.folder / "base")
    print("ComfyUI is stopped" if stopped else "no ComfyUI was running")
    return 0


def _run_workflow(arguments: argparse.Namespace) -> int:
    workflow = read_workflow(arguments.workflow)
    if arguments.lora and not arguments.lora.is_file():
        raise CourseError(f"--lora {arguments.lora}: there is no such file")
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
    running = running_server(arguments.folder / "base")
    if arguments.server or running:
        yield arguments.server or running.url
        return
    installation = _install(arguments)
    print(
        "starting a ComfyUI for this run; with `kolors-course comfyui start` it stays and the next run is faster"
    )
    try:
        yield start_server(installation, flags=_flags()).url
    finally:
        stop_server(installation.base)


def _flags() -> tuple[str, ...]:
    return ("--cpu",) if pick_device().type == "cpu" else ()


def _prepare(workflow: dict, client: ComfyClient, arguments: argparse.Namespace) -> ApiGraph:
    """The workflow in API format, valid on that server; the camp's becomes one of ours."""
    schemas = client.schemas()
    if is_camp_workflow(workflow):
        imported = import_camp(workflow, schemas, current_profile().name, arguments.lora)
        for note in imported.notes:
            print(f"note: {note}")
        api = imported.api
        links = [_offer_lora(name, Path(path), arguments) for name, path in imported.loras.items()]
        schemas = client.schemas() if any(links) else schemas
    else:
        api = to_api(workflow, schemas) if format_of(workflow) == "ui" else workflow
    require_valid(api, schemas)
    return api


def _offer_lora(name: str, path: Path, arguments: argparse.Namespace) -> bool:
    """Put a LoRA file among those of the server that runs here; whether it is there now."""
    if arguments.server or not path.is_file():
        return False
    prepare_base(arguments.folder / "base")
    with atomic_path(arguments.folder / "base" / "models" / "loras" / name) as link:
        try:
            os.symlink(path.resolve(), link)
        except OSError:  # Windows allows links to administrators only
            shutil.copyfile(path, link)
    return True


def _draw(client: ComfyClient, api: ApiGraph, page: dict | None, output: Path) -> None:
    saved, bars = 0, {}
    for event in client.run(api, page):
        if isinstance(event, Step):
            if event.node not in bars:
                bars[event.node] = tqdm(total=event.total, desc=event.title, disable=None)
            bars[event.node].update(event.value - bars[event.node].n)
        if isinstance(event, Picture):
            for bar in bars.values():
                bar.close()
            saved += 1
            # Only the name: a server must not choose a folder of this machine.
            with atomic_path(output / Path(event.filename).name) as path:
                path.write_bytes(client.picture_bytes(event))
            print(f"wrote {output / Path(event.filename).name}")
    if not saved:
        raise CourseError("the workflow ran, but no node of it saved or previewed a picture")


_RUN = {"install": _run_install, "start": _run_start, "run": _run_workflow, "stop": _run_stop}
