"""What the tests of the repository itself share."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "scripts"), str(ROOT / "benchmarks")]


@pytest.fixture(scope="session", autouse=True)
def progress_of_nobody(tmp_path_factory: pytest.TempPathFactory):
    """What tests pass is not noted as the developer's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOLORS_COURSE_PROGRESS", str(tmp_path_factory.mktemp("progress") / "progress.json"))
        yield


@pytest.fixture(scope="session")
def repository_files() -> list[Path]:
    """Every file that belongs to the repository: what git tracks or would track.

    In a copy without git, every file outside hidden folders and build folders.
    """
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]
    ignored = {"outputs", "build", "__pycache__"}
    parts = ((path, path.relative_to(ROOT).parts) for path in ROOT.rglob("*") if path.is_file())
    return [
        path
        for path, names in parts
        if not ignored & set(names) and not any(name.startswith(".") for name in names[:-1])
    ]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Kolors in diffusers layout; copy it before changing it."""
    from tiny import build_tiny

    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of four small pictures."""
    from tiny import write_pictures

    return write_pictures(tmp_path_factory.mktemp("datasets") / "four")


@pytest.fixture(scope="module")
def tiny_model(tiny_folder: Path):
    """The tiny Kolors, loaded; shared by the tests of one file, so leave it as it was."""
    from kolors_course.kolors import load_model

    return load_model(tiny_folder)


@pytest.fixture(scope="session")
def quick(tiny_folder: Path, tiny_pictures: Path, tmp_path_factory: pytest.TempPathFactory):
    """An uninterrupted training of the recipe QUICK; its folder may be read and resumed, but not changed."""
    from tiny import QUICK

    from kolors_course.kolors import load_model
    from kolors_course.training.lora import train_lora

    folder = tmp_path_factory.mktemp("quick")
    return train_lora(load_model(tiny_folder), tiny_pictures, folder, QUICK, command="the command")


@pytest.fixture(scope="session")
def lora_file(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of the tiny Kolors, strong enough to be seen."""
    import torch

    from kolors_course.kolors import load_model
    from kolors_course.lora import LoraSettings, add_lora, lora_parameters, save_lora

    unet, settings = load_model(tiny_folder).unet, LoraSettings(rank=2, alpha=4.0)
    add_lora(unet, settings, generator=torch.Generator().manual_seed(0))
    for parameter in lora_parameters(unet):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    path = tmp_path_factory.mktemp("loras") / "ink.safetensors"
    return save_lora(path, unet, settings, base_model="tiny", dataset_hash="0" * 64)


@pytest.fixture
def tiny_profile(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The profile mini is the tiny Kolors."""
    monkeypatch.setenv("KOLORS_MODEL", str(tiny_folder))
    monkeypatch.delenv("KOLORS_PROFILE", raising=False)


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory):
    """A real ComfyUI server with the course's nodes; the tests that want it are skipped where it cannot be had."""
    from comfyui_server import start_real_server

    from kolors_course.comfyui.server import stop_server

    base = tmp_path_factory.mktemp("comfyui") / "base"
    yield start_real_server(base)
    stop_server(base)


@pytest.fixture(scope="module")
def browser(request):
    """A headless Chromium; the tests that want it are skipped where there is none, `make test-browser` fails.

    Not for the whole session: while Playwright runs, nothing else in its thread may use asyncio.
    """
    from chromium_here import what_is_missing

    if missing := what_is_missing():
        give_up = pytest.fail if request.node.get_closest_marker("browser") else pytest.skip
        give_up(missing)
    from chromium import open_chromium

    with open_chromium() as browser:
        yield browser


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that `draw_kept` drew, and did not take from its store."""
    from kolors_course.evaluation import kept

    drawn, real = [], kept.generate

    def generate(model, prompts, seeds, sampling):
        drawn.extend(prompts)
        return real(model, prompts, seeds, sampling)

    monkeypatch.setattr(kept, "generate", generate)
    return drawn
