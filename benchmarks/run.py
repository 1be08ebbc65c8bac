"""Speed as ratios measured in one run: `make bench`.

Every comparison does the same work in turns with the others, and sampling is checked to give the same pictures.
Writes benchmarks/results.json with commit, versions and machine.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from measure import median_seconds, ratios
from sampling import first_calls, samplings
from steps import training_steps

from kolors_course.files import atomic_path
from kolors_course.kolors import Sampling, current_profile, load_profile
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.platform.paths import data_dir
from kolors_course.platform.provenance import provenance
from kolors_course.training.recipe import LoraTraining


def measure(repeats: int, steps: int, compiled: bool) -> dict[str, Any]:
    profile = current_profile()
    dataset = data_dir() / "datasets" / "paper-cut"
    recipe = LoraTraining(batch_size=profile.batch_size, learning_rate=profile.learning_rate)
    with tempfile.TemporaryDirectory() as folder:
        training = median_seconds(training_steps(profile, dataset, recipe, Path(folder)), repeats)
    results = {f"LoRA step, {recipe.batch_size} pictures": ratios(training, "ours")}
    # What few steps save, everybody saves: each row of numbers is compared with the stock pipeline's same numbers.
    own = load_profile(profile).sampling
    for sampling in (Sampling(steps), own):
        jobs = samplings(profile, sampling, compiled and sampling is not own)
        first = first_calls(jobs)
        rows = ratios(median_seconds(jobs, repeats), "ours")
        results[f"sampling 4 pictures, {sampling.steps} steps, guidance {sampling.guidance_scale:g}"] = {
            name: row | {"first call, seconds": round(first[name], 1)} for name, row in rows.items()
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9, help="default %(default)s")
    parser.add_argument("--steps", type=int, default=25, help="sampling steps (default %(default)s)")
    parser.add_argument(
        "--compile", action="store_true", help="sampling with torch.compile too, which takes minutes to begin"
    )
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("results.json"), help="default %(default)s"
    )
    arguments = parser.parse_args()
    limit_threads()
    results = measure(arguments.repeats, arguments.steps, arguments.compile)
    command = f"python benchmarks/run.py --repeats {arguments.repeats} --steps {arguments.steps}"
    command += " --compile" * arguments.compile
    report = {"command": command, **provenance(pick_device()), "results": results}
    with atomic_path(arguments.output) as path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for title, rows in results.items():
        print(title)
        for name, row in rows.items():
            print(f"  {name:32} {row['seconds']:8.3f} s   {row['times ours']:5.2f} x ours")


if __name__ == "__main__":
    main()
