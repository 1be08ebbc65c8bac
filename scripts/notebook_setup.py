"""Install the course into the Python that runs this, around the torch that is there.

    python scripts/notebook_setup.py [--dry-run]

Made for GPU notebooks whose image brings a torch that fits its driver, such as ModelScope's: torch stays as it is,
and so does the major version of numpy, which other compiled packages of the image were built for. The other
libraries become the newest ones that were measured to work with that torch (kolors_course/torch_sets). Needs the
standard library alone.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("torch", "torchvision", "torchaudio", "triton")

if sys.version_info < (3, 10):  # noqa: UP036 — nothing has checked it yet
    sys.exit("error: Python 3.10 or newer is needed; this is " + sys.version.split()[0])

sys.path.insert(0, str(ROOT))

from kolors_course.errors import CourseError  # noqa: E402
from kolors_course.libraries import installed, numbers, pins, present_torch, problems, torch_set  # noqa: E402


def kept(torch: str) -> list[str]:
    """Constraints that keep torch, what is built for exactly this torch, and the major version of numpy."""
    lines = [f"{name}=={here}" for name in KEPT if (here := installed(name))]
    numpy = installed("numpy")
    if numpy:
        major = numbers(numpy)[0]
        lines.append(f"numpy>={major},<{major + 1}")
    elif numbers(torch) < (2, 4, 0):
        lines.append("numpy<2")  # on some systems these torch wheels were built for numpy 1 alone
    return lines


def setup(dry_run: bool) -> None:
    """Install, or with `dry_run` only tell what would be installed.

    Raises:
        CourseError: there is no torch, or it is too old; pip is missing or fails; the result does not fit.
    """
    torch = present_torch()
    measured, kept_lines = torch_set(torch), kept(torch)
    print(f"Python {sys.version.split()[0]}, {sys.executable}")
    print("stays:    ", ", ".join(kept_lines))
    print("installed:", ", ".join(f"{name}=={release}" for name, release in pins(measured).items()))
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "kept.txt")
        constraints.write_text("\n".join(kept_lines) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "-c", str(constraints), "-c", str(measured)]
        command += ["-e", ".[notebooks]"]
        print(f"in {ROOT}: {shlex.join(command)}", flush=True)
        if not dry_run:
            _run_pip(command)
            _check(torch)


def _run_pip(command: list[str]) -> None:
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        raise CourseError(f"{sys.executable} has no pip: run {sys.executable} -m ensurepip")
    if code := subprocess.run(command, cwd=ROOT).returncode:
        raise CourseError(f"pip failed (exit {code}); what it says above tells why")


def _check(torch: str) -> None:
    now = installed("torch")
    if now != torch:
        raise CourseError(f"torch {torch} has become {now}: install {torch} again as the image did")
    if found := problems():
        raise CourseError("; ".join(found.values()))
    print(f"done, torch {torch} is as it was; restart running kernels, then try: kolors-course doctor")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would be installed, and stop")
    try:
        setup(parser.parse_args().dry_run)
    except CourseError as error:
        print("error:", error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
