"""Speed as ratios measured in one run: `make bench`.

Each pair does the same work and is checked to give the same result; times are medians of alternating repeats.
Writes benchmarks/results.json with commit, versions and machine.
"""

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from diffusers import KolorsPipeline

from kolors_course.files import atomic_path
from kolors_course.kolors import (
    Sampling,
    current_profile,
    encode_prompts,
    encode_prompts_padded,
    generate,
    initial_latents,
    load_profile,
    time_ids,
)
from kolors_course.lora import LoraSettings, add_lora, lora_parameters
from kolors_course.platform.device import limit_threads
from kolors_course.training.objective import epsilon_loss
from kolors_course.training.run import autocast

PROMPTS = [
    "夜晚雪地上的一只兔子",
    "a cat in the city at night",
    "太空中的一枚火箭",
    "a house and a tree on the grass",
]


def compare(slow: Callable[[], object], fast: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median seconds of both, measured alternately after one warm-up each, and their ratio."""
    times: dict[str, list[float]] = {"slow": [], "fast": []}
    slow(), fast()
    for _ in range(repeats):
        for name, job in (("slow", slow), ("fast", fast)):
            started = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - started)
    medians = {f"{name}_seconds": statistics.median(values) for name, values in times.items()}
    return medians | {"ratio": medians["slow_seconds"] / medians["fast_seconds"]}


def sampling_pair(model, steps: int) -> tuple[Callable, Callable]:
    """Stock KolorsPipeline against our loop with compacted prompts: same latents, same pictures."""
    pipeline = KolorsPipeline.from_pretrained(current_profile().folder, torch_dtype=model.unet.dtype)
    pipeline.set_progress_bar_config(disable=True)
    side, seeds = model.default_size, range(len(PROMPTS))
    latents = initial_latents(model, seeds, side, side)
    options = {"num_inference_steps": steps, "guidance_scale": 5.0, "height": side, "width": side}

    def stock() -> object:
        return pipeline(PROMPTS, latents=latents.clone(), **options).images

    def ours() -> object:
        return generate(model, PROMPTS, seeds, Sampling(steps=steps))

    for a, b in zip(stock(), ours(), strict=True):
        difference = (torch.tensor(list(a.tobytes())) - torch.tensor(list(b.tobytes()))).abs().max()
        assert difference <= 2, f"pictures differ by {difference}"
    return stock, ours


def training_pair(model, batch_size: int) -> tuple[Callable, Callable]:
    """One LoRA step on fully padded prompts (256 rows) against compacted ones: same loss."""
    prompts = (PROMPTS * batch_size)[:batch_size]
    with torch.no_grad():
        padded = encode_prompts_padded(model.tokenizer, model.text_encoder, prompts)
        compact = encode_prompts(model.tokenizer, model.text_encoder, prompts)
    add_lora(model.unet, LoraSettings(), generator=torch.Generator().manual_seed(0))
    side = model.default_size
    latents = initial_latents(model, range(batch_size), side, side)
    ids = time_ids(side, side).to(model.device).expand(batch_size, -1)

    def step(embeds) -> float:
        with autocast(model.device):
            loss = epsilon_loss(model, latents, embeds, ids, torch.Generator().manual_seed(1), 5.0)
        loss.backward()
        for parameter in lora_parameters(model.unet):
            parameter.grad = None
        return loss.item()

    slow, fast = (lambda: step(padded)), (lambda: step(compact))
    assert abs(slow() - fast()) < 0.02 * abs(slow()), "the losses differ"
    return slow, fast


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=25, help="sampling steps")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results.json"))
    arguments = parser.parse_args()
    threads, model = limit_threads(), load_profile()
    results = {
        "sampling 4 pictures: stock KolorsPipeline / ours": compare(
            *sampling_pair(model, arguments.steps), arguments.repeats
        ),
        # Second, because it leaves a LoRA on the U-Net.
        "LoRA step of 8: 256 text rows / compacted": compare(*training_pair(model, 8), arguments.repeats),
    }
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    report = {
        "command": "make bench",
        "commit": commit,
        "machine": f"{platform.machine()}, {threads} threads, device {model.device}",
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "results": results,
    }
    with atomic_path(arguments.output) as path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, result in results.items():
        print(
            f"{name}: {result['ratio']:.2f}x ({result['slow_seconds']:.2f} s / {result['fast_seconds']:.2f} s)"
        )


if __name__ == "__main__":
    main()
