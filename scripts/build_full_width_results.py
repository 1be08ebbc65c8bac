"""Write what the U-Net of full Kolors takes on a GPU, as measured, where lessons on a CPU can show it.

    python scripts/build_full_width_results.py

benchmarks/full_width_gpu.json is what was measured; it becomes data/lessons/full-width/.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from stored_results import write_results

from kolors_course.platform.paths import REPOSITORY
from kolors_course.viz.stored import Piece, StoredResults

REPORT = REPOSITORY / "benchmarks" / "full_width_gpu.json"
# result -> what its rows begin with, and their unit
RESULTS = {"training": ("training", "seconds per step"), "sampling": ("sampling", "seconds per picture")}


def table(report: Mapping[str, Any], kind: str, unit: str) -> str:
    """The rows of one kind: seconds and memory."""
    rows = {name: row for name, row in report["results"].items() if name.startswith(f"{kind}, ")}
    lines = [f"{name:32} {row[unit]:20.2f} {row['peak GiB']:10.1f}" for name, row in rows.items()]
    return "\n".join([f"{report['what']}, 1024 x 1024:", f"{'':32} {unit:>20} {'peak GiB':>10}", *lines])


def main() -> int:
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    results: dict[str, tuple[Piece, ...]] = {
        name: (Piece(text=table(report, *entry)),) for name, entry in RESULTS.items()
    }
    facts = {"command": report["command"], "commit": report["commit"], **report["versions"]}
    write_results("full-width", StoredResults(report["machine"], facts, results), {})
    print("wrote", ", ".join(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
