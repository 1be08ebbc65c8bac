"""Make pages of the whole library from its docstrings, with pdoc: `make docs`, then open outputs/api/index.html.

python scripts/api_pages.py

It fails if pdoc warns of anything, such as a module that cannot be imported.
"""

import os
import sys
import warnings
from pathlib import Path

import pdoc

PAGES = Path(__file__).resolve().parents[1] / "outputs" / "api"
NEEDS_COMFYUI = "kolors_course.comfyui.nodes"


def build(folder: Path) -> list[str]:
    """Write the pages of all modules but ComfyUI's nodes; returns what pdoc warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module=r"pdoc\b")
        pdoc.pdoc("kolors_course", f"!{NEEDS_COMFYUI}", output_directory=folder)
    return [text for warning in told if NEEDS_COMFYUI not in (text := str(warning.message))]


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    faults = build(PAGES)
    print(f"{PAGES / 'index.html'}: {sum(1 for _ in PAGES.rglob('*.html'))} pages")
    sys.exit("\n".join(faults) if faults else 0)
