"""Which libraries fit the installed torch: the measured sets, what is told, and the script that installs them."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kolors_course import cli, libraries
from kolors_course.libraries import UnfitLibraries, pins, present_torch, problems, require_fit, torch_set
from kolors_course.platform import doctor

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "notebook_setup.py"
LIBRARIES = {"accelerate", "diffusers", "peft", "transformers"}
BOUNDS = ["torch>=2.3", "transformers>=4.56", "peft>=0.18", 'pytest>=8; extra == "dev"']


@pytest.fixture
def machine(monkeypatch):
    """Pretend that these packages are installed, and no others; `machine(torch="2.3.1", peft="0.21.2")`."""

    def pretend(bounds=BOUNDS, **packages):
        def version(name):
            if name not in packages:
                raise PackageNotFoundError(name)
            return packages[name]

        monkeypatch.setattr(libraries, "version", version)
        monkeypatch.setattr(libraries, "requires", lambda _: bounds)
        require_fit.cache_clear()

    yield pretend
    require_fit.cache_clear()


def lines(path: Path) -> list[Requirement]:
    text = path.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in text if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("torch", "measured"),
    [
        ("2.3.0", "2.3"),
        ("2.3.1+cu121", "2.3"),
        ("2.4.1", "2.4"),
        ("2.5.1", "2.5"),
        ("2.6.0", "2.6"),
        ("2.10.0+cu128", "2.6"),
        ("2.99", "2.6"),
        ("3.0.0a0+git12ab", "2.6"),
    ],
)
def test_every_torch_has_a_set(torch, measured):
    assert torch_set(torch).stem == f"torch-{measured}"


@pytest.mark.parametrize("path", sorted(libraries.SETS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_set_pins_the_same_libraries_within_the_bounds(path):
    bounds = {requirement.name: requirement.specifier for requirement in project_requirements()}
    assert set(pins(path)) == LIBRARIES == {line.name for line in lines(path)}
    for line in lines(path):
        assert bounds[line.name].contains(str(line.specifier).removeprefix("=="))


def project_requirements() -> list[Requirement]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("\ndependencies = [", 1)[1].split("\n]", 1)[0]
    return [Requirement(line) for line in re.findall(r'"(.+)"', block)]


def test_newest_set_is_that_of_constraints():
    newest = libraries.SETS / "torch-2.6.txt"
    for python in ("3.10", "3.11", "3.13"):
        marks = {"python_version": python, "python_full_version": f"{python}.9"}
        chosen = [
            {
                line.name: str(line.specifier)
                for line in lines(path)
                if line.name in LIBRARIES and (line.marker is None or line.marker.evaluate(marks))
            }
            for path in (newest, ROOT / "constraints.txt")
        ]
        assert chosen[0] == chosen[1]


def test_oldest_torch_is_that_of_pyproject(machine):
    torch = next(line for line in project_requirements() if line.name == "torch")
    assert str(torch.specifier) == ">=2.3"
    machine(torch="2.3.0")
    assert present_torch() == "2.3.0"


@pytest.mark.parametrize(
    ("packages", "said"), [({}, "is not installed"), ({"torch": "2.2.2"}, "2.2.2 is too old")]
)
def test_no_torch_and_an_old_one_are_said_in_one_line(machine, capsys, packages, said):
    machine(**packages)
    for command in ("doctor", "generate"):
        assert cli.main([command, *(["--prompt", "a cat"] if command == "generate" else [])]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "2.3 or newer" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ({"torch": "2.3.1", "transformers": "5.24.0", "peft": "0.18.0"}, "5.24.0 is too new for torch 2.3.1"),
        ({"torch": "2.5.1", "transformers": "5.19.0", "peft": "0.18.0"}, "5.19.0 is too new for torch 2.5.1"),
        (
            {"torch": "2.10.0", "transformers": "4.40.0", "peft": "0.18.0"},
            "4.40.0 is too old (the course needs 4.56",
        ),
        ({"torch": "2.10.0", "transformers": "5.8.1"}, "peft is not installed"),
    ],
)
def test_an_unfit_set_is_one_line_with_the_remedy(machine, capsys, packages, said):
    machine(**packages)
    assert cli.main(["generate", "--prompt", "a cat"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "make notebook-setup" in error
    assert error.count("\n") == 1


def test_a_notebook_sees_the_same_line_and_no_traceback(machine):
    machine(torch="2.3.1", transformers="5.24.0", peft="0.18.0")
    with pytest.raises(UnfitLibraries) as caught:
        require_fit()
    assert caught.value._render_traceback_() == [f"error: {caught.value}"]


UNFIT = """
import sys
from kolors_course import libraries
real = libraries.version
versions = {"torch": "2.3.1", "transformers": "5.24.0", "diffusers": "0.38.0"}
libraries.version = lambda name: versions.get(name) or real(name)
"""


def unfit(code: str) -> subprocess.CompletedProcess:
    """Python in which nothing of the course is imported yet, and transformers is too new for torch."""
    return subprocess.run([sys.executable, "-c", UNFIT + code], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    "first",
    [
        "import kolors_course.kolors as k; k.generate",
        "from kolors_course.lora import load_lora",
        "import kolors_course.exercises.setup",
        "from kolors_course.training.lora import train_lora",
        "from kolors_course.evaluation import picture_sheet",
        "import kolors_course.mini.samples",
        "import kolors_course.diffusion.samplers",
    ],
)
def test_whatever_a_notebook_imports_first_it_is_checked_before_diffusers_is(first):
    done = unfit(f"""
try:
    {first}
except libraries.UnfitLibraries as error:
    print(error, "diffusers" in sys.modules)
""")
    assert "5.24.0 is too new for torch 2.3.1" in done.stdout, done.stderr
    assert done.stdout.endswith(" False\n")


def test_doctor_and_help_work_where_the_libraries_do_not_fit():
    done = unfit("from kolors_course.cli import main; sys.exit(main(['doctor']))")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^!!  transformers +5\.24\.0$", done.stdout, re.MULTILINE)
    assert "mend what is said about transformers" in done.stdout
    done = unfit(
        "from kolors_course.cli import main\nfor name in sys.modules['kolors_course.cli'].COMMANDS:\n"
        "    try: main([name, '--help'])\n    except SystemExit: pass"
    )
    assert done.stdout.count("usage:") == len(cli.COMMANDS), done.stderr


def test_many_faults_still_fit_into_one_line(machine):
    machine([f"package{i}>=1" for i in range(9)], torch="2.10.0")
    with pytest.raises(UnfitLibraries, match="package2 is not installed; 6 more"):
        require_fit()


@pytest.mark.parametrize(
    "packages",
    [
        {"torch": "2.3.1", "transformers": "4.56.0", "peft": "0.18.1"},
        {"torch": "2.3.1+cu121", "transformers": "5.0.9", "peft": "0.21.9"},
        {"torch": "2.4.0", "transformers": "4.57.6", "peft": "0.18.0"},
        {"torch": "2.6.0", "transformers": "9.1", "peft": "1.0"},
        {"torch": "2.99.0", "transformers": "5.24.0", "peft": "0.21.2"},
    ],
)
def test_fit_sets_pass(machine, packages):
    machine(**packages)
    assert not problems()
    require_fit()


def test_the_remedy_outside_a_checkout_is_a_pip_line(machine, monkeypatch, tmp_path):
    machine(torch="2.3.1", transformers="5.24.0", peft="0.18.0")
    monkeypatch.setattr(libraries, "CHECKOUT", tmp_path)
    with pytest.raises(UnfitLibraries, match=r"pip install -U -c .*torch-2\.3\.txt transformers`"):
        require_fit()


def test_doctor_names_every_fault(machine):
    machine(torch="2.3.1", transformers="5.24.0", peft="0.16.0")
    checks = {check.name: check for check in doctor.examine()}
    assert checks["torch"].ok
    for name in ("transformers", "peft"):
        assert not checks[name].ok
        assert "make notebook-setup" in checks[name].advice
    assert checks["transformers"].value == "5.24.0"


def fake_packages(folder: Path, **packages: str) -> Path:
    """Metadata of packages, all that the script looks at."""
    for name, version in packages.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    return folder


def run_script(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The script in a Python that has nothing but these packages: -I -S leaves the standard library."""
    code = f"import runpy, sys; sys.path.append({str(folder)!r}); sys.argv = sys.argv[:1] + {list(arguments)!r}\n"
    code += f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize(
    ("packages", "stays", "diffusers"),
    [
        ({"torch": "2.3.1", "numpy": "1.26.4"}, "torch==2.3.1, numpy>=1,<2", "0.38.0"),
        ({"torch": "2.3.1+cu121", "numpy": "2.0.1"}, "torch==2.3.1+cu121, numpy>=2,<3", "0.38.0"),
        ({"torch": "2.3.1"}, "torch==2.3.1, numpy<2", "0.38.0"),
        ({"torch": "2.10.0", "torchvision": "0.25.0"}, "torch==2.10.0, torchvision==0.25.0\n", "0.42.1"),
        ({"torch": "2.77.0", "numpy": "2.4.6"}, "torch==2.77.0, numpy>=2,<3", "0.42.1"),
    ],
)
def test_the_script_tells_what_stays_and_what_comes(tmp_path, packages, stays, diffusers):
    done = run_script(fake_packages(tmp_path, **packages), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert stays in done.stdout
    assert f"diffusers=={diffusers}" in done.stdout


@pytest.mark.parametrize(
    ("packages", "said"), [({}, "is not installed"), ({"torch": "2.1.0"}, "2.1.0 is too old")]
)
def test_the_script_needs_a_torch(tmp_path, packages, said):
    tmp_path.mkdir(exist_ok=True)
    done = run_script(fake_packages(tmp_path, **packages))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
