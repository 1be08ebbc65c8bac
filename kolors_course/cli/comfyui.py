"""`kolors-course comfyui install`, `start` and `stop`; `run` is in comfyui_run, which imports much more."""

import argparse
import time

from kolors_course.cli.comfyui_setup import device_flags, ready_installation, tell
from kolors_course.cli.signals import ended_in_order
from kolors_course.comfyui.access import close_tunnels, gateway_path, public_tunnel, read_origin
from kolors_course.comfyui.guard import ANY
from kolors_course.comfyui.install import default_folder, find_installation
from kolors_course.comfyui.ports import require_port
from kolors_course.comfyui.server import log_file, running_server, start_server, stop_server


def run(arguments: argparse.Namespace) -> int:
    arguments.folder = (arguments.folder or default_folder()).resolve()
    with ended_in_order():
        return _RUN[arguments.action](arguments)


def _run_install(arguments: argparse.Namespace) -> int:
    if find_installation(arguments.folder):
        print(f"ComfyUI is already installed in {arguments.folder}")
    ready_installation(arguments)
    return 0


def _run_start(arguments: argparse.Namespace) -> int:
    require_port(arguments.port)
    flags, welcome = device_flags(), []
    if arguments.origin:
        origin, host = read_origin(arguments.origin)
        flags, welcome = (*flags, "--enable-cors-header", origin), [host]
    # Nobody browses on a notebook's machine, and its gateway has many names.
    if gateway_path(0):
        welcome.append(ANY)
    installation = ready_installation(arguments)
    server = start_server(installation, arguments.port, flags, welcome=welcome, report=tell)
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
    server = running_server(arguments.folder / "base")
    if server and close_tunnels(server.url):
        print("the public tunnel to it is closed")
    stopped = stop_server(arguments.folder / "base")
    print("ComfyUI is stopped" if stopped else "no ComfyUI was running")
    return 0


def _run_workflow(arguments: argparse.Namespace) -> int:
    from kolors_course.cli.comfyui_run import run_workflow

    return run_workflow(arguments)


_RUN = {"install": _run_install, "start": _run_start, "run": _run_workflow, "stop": _run_stop}
