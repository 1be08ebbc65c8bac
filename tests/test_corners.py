"""The corners of what the course installs on: a new environment for each torch, and the main path run in it.

Run on demand (CONTRIBUTING.md): each takes minutes and downloads gigabytes. $KOLORS_CORNERS names other versions
of torch than these, $TORCH_INDEX another package index for torch alone. In a folder $KOLORS_CORNERS_HOME the
environments are kept, and used again.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kolors_course.libraries import numbers, torch_set

pytestmark = pytest.mark.corners

ROOT = Path(__file__).resolve().parents[1]
TORCHES = os.environ.get("KOLORS_CORNERS", "2.3.1 2.4.1 2.5.1 2.6.0 2.10.0 2.15.0").split()
OLDEST = "2.3.1"
SHOWN = ("torch", "diffusers", "transformers", "peft", "accelerate", "numpy")
# What depends most on the versions of the libraries.
UNIT_TESTS = sorted(
    str(path)
    for room in (
        "diffusion",
        "kolors",
        "libraries",
        "lora",
        "platform",
        "story",
        "training_lora",
        "training_plan",
        "training_resume",
    )
    for path in ROOT.glob(f"tests/test_{room}*.py")
    if path.name
    != "test_lora_stock.py"  # what the stock pipeline does with files differs between its versions
)


@dataclass(frozen=True)
class Corner:
    """A virtual environment and a folder to work in."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    def run(self, *command: str | Path, status: int = 0, data: Path | None = None) -> str:
        """The output of a command of the environment's Python, which must end with this status."""
        hidden = ("PYTHONPATH", "KOLORS_COURSE_DATA", "KOLORS_PROFILE")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
        environment |= {"KOLORS_COURSE_DATA": str(data)} if data else {}
        done = subprocess.run(
            [self.python, *command],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == status, f"{shlex.join(map(str, command))}\n{done.stdout[-4000:]}"
        return done.stdout

    def course(self, *arguments: str | Path, status: int = 0, data: Path | None = None) -> str:
        return self.run("-m", "kolors_course", *arguments, status=status, data=data)

    def pip_install(self, *arguments: str | Path) -> None:
        self.run("-m", "pip", "install", "--quiet", *arguments)

    def version(self, package: str) -> str:
        return self.run("-c", f"from importlib.metadata import version; print(version({package!r}))").strip()

    def draw_and_train(self, data: Path) -> None:
        """Doctor, two steps of training, a picture with the LoRA, and what is in its file."""
        assert "!!  " not in self.course("doctor")
        dataset = data / "datasets" / "ink"
        flags = "--lora_rank 4 --lora_alpha 4 --steps_per_epoch 2 --max_epochs 1 --center_crop"
        self.course("train-lora", "--dataset_path", dataset, "--output_path", "out", *flags.split())
        lora = "out/lora.safetensors"
        self.course("generate", "--prompt", "a cat", "--steps", "3", "--lora", lora, "-o", "cat.png")
        assert (self.folder / "cat.png").stat().st_size > 5000
        assert "rank" in self.course("inspect-lora", lora)

    def report(self, result: str) -> None:
        """One row for the table in docs/installation.md; shown by pytest -s."""
        print("\n|", " | ".join(self.version(name) for name in SHOWN), "|", result, "|")


@contextmanager
def environment(tmp_path: Path, name: str, torch: str) -> Iterator[Corner]:
    """A new environment with nothing but this torch, or the one of this name that is kept."""
    kept = os.environ.get("KOLORS_CORNERS_HOME")
    corner = Corner(Path(kept, name) if kept else tmp_path)
    if not corner.python.exists():
        subprocess.run([sys.executable, "-m", "venv", corner.folder / "venv"], check=True)
    index = os.environ.get("TORCH_INDEX")
    corner.pip_install(f"torch=={torch}", *(["--index-url", index] if index else []))
    yield corner
    if not kept:
        shutil.rmtree(corner.folder / "venv")  # five gigabytes


@pytest.fixture(scope="module", params=TORCHES)
def fitted(request, tmp_path_factory):
    """An environment as an image has it, after the script has run in it."""
    torch = request.param
    with environment(tmp_path_factory.mktemp("corner"), torch, torch) as corner:
        # Images with a torch before 2.5 have packages that were compiled for numpy 1.
        corner.pip_install("numpy<2" if numbers(torch) < (2, 5, 0) else "numpy>=2")
        before = [corner.version(name) for name in ("torch", "numpy")]
        corner.run(ROOT / "scripts" / "notebook_setup.py")
        after = [corner.version(name) for name in ("torch", "numpy")]
        assert after[0] == before[0]
        assert numbers(after[1])[0] == numbers(before[1])[0]
        yield corner


def test_main_path(fitted):
    fitted.draw_and_train(ROOT / "data")
    fitted.report("the path works")


def test_unit_tests(fitted):
    fitted.pip_install("pytest", "fonttools", "packaging")
    said = fitted.run("-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *UNIT_TESTS)
    fitted.report(said.splitlines()[-1])


def test_lower_bounds_work_together(tmp_path):
    lines = re.findall(
        r'^    "([\w-]+)>=([\w.]+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    bounds = dict(lines) | {"torch": OLDEST}
    with environment(tmp_path, "bounds", OLDEST) as corner:
        constraints = corner.folder / "bounds.txt"
        constraints.write_text("".join(f"{name}=={least}\n" for name, least in bounds.items()))
        corner.pip_install("-c", constraints, "-e", f"{ROOT}[notebooks]")
        assert corner.version("diffusers").startswith(bounds["diffusers"])
        corner.draw_and_train(ROOT / "data")
        corner.report("the lower bounds: the path works")


def test_the_newest_libraries_on_an_old_torch_are_one_line(tmp_path):
    with environment(tmp_path, "newest", OLDEST) as corner:
        corner.pip_install("-e", f"{ROOT}[notebooks]")
        said = corner.course("generate", "--prompt", "a cat", status=2)
        assert re.fullmatch(r"error: .*too new for torch 2\.3\.1.*make notebook-setup.*\n", said)
        assert "!!  transformers" in corner.course("doctor")
        assert "usage:" in corner.course("train-lora", "--help")
        for cell in ("import kolors_course.kolors as k; k.generate", "import kolors_course.exercises.setup"):
            said = corner.run("-m", "IPython", "--no-banner", "-c", cell, status=1)
            assert re.fullmatch(r"error: .*too new for torch 2\.3\.1.*make notebook-setup.*\n", said)


def test_a_wheel_works_outside_the_checkout(tmp_path):
    with environment(tmp_path, "wheel", TORCHES[-1]) as corner:
        measured = torch_set(corner.version("torch"))
        shutil.rmtree(ROOT / "build", ignore_errors=True)  # would be packed too
        corner.pip_install("-c", measured, ROOT, "jupyterlab", "ipywidgets", "ipykernel")
        for command in (
            "generate --prompt cat",
            "words",
            "demo",
            "evaluate",
            "train-mini",
            "merge-lora x -o y",
        ):
            said = corner.course(*command.split(), status=2)
            assert re.fullmatch(r"error: no folder .*set KOLORS_COURSE_DATA.*\n", said)
        ink, pixel = (ROOT / "data" / "loras" / f"{style}.safetensors" for style in ("ink", "pixel"))
        assert "of another model" not in corner.course("inspect-lora", ink)
        corner.course("convert-lora", ink, "ink.safetensors", "--to", "kohya")
        corner.course("combine-lora", ink, pixel, "-o", "both.safetensors")
        dataset = ROOT / "data" / "datasets" / "ink"
        said = corner.course("check-dataset", dataset)
        assert "not counted in tokens: no folder" in said
        assert "ready to train on" in said
        mini = ("--model", ROOT / "data" / "kolors-mini")
        corner.course("merge-lora", ink, *mini, "-o", "merged")
        corner.course("generate", *mini, "--prompt", "a unicorn", "--steps", "2", "-o", "unicorn.png")
        corner.course("generate", "--prompt", "a cat", "--steps", "2", "-o", "cat.png", data=ROOT / "data")
