"""Train the probe network on rendered scenes in all styles."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.art import BASE_STYLE
from kolors_course.evaluation.probes import CLASSES, Probe, save_probe
from kolors_course.mini.pictures import (
    PictureSpec,
    PictureStore,
    choose_scene,
    draw_pictures,
    to_model,
)
from kolors_course.mini.recorded import RecordedPass, to_device
from kolors_course.mini.truth import truth_tensors
from kolors_course.platform.device import pick_device
from kolors_course.training.checkpoint import restoring
from kolors_course.training.limits import check_numbers
from kolors_course.training.run import RunFolder, autocast, warmup_cosine

CONTENTS = {"model": dict, "optimizer": dict, "step": int}  # of a checkpoint
FLAGS = {"steps": "--probe-steps"}


@dataclass(frozen=True)
class ProbeConfig:
    """How the probe network is trained, and on how many pictures."""

    steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.02
    pictures: int = 30000
    seed: int = 100
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        check_numbers(self)


def probe_loss(logits: dict[str, Tensor], truth: dict[str, Tensor]) -> Tensor:
    """Softmax cross-entropy over subjects (halves for pairs) plus cross-entropy of every other question."""
    target = truth["subject"] / truth["subject"].sum(1, keepdim=True)
    loss = 2 * F.cross_entropy(logits["subject"], target)
    for key in CLASSES:
        loss = loss + F.cross_entropy(logits[key], truth[key], ignore_index=-1)
    return loss


def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the pictures a little and add noise: a VAE's pictures are never as crisp as a rendering.

    `generator` is on the device of `pixels` (B, 3, H, W).
    """

    def rand() -> Tensor:
        return torch.rand(len(pixels), 1, 1, 1, generator=generator, device=pixels.device)

    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    mix = torch.where(rand() < 0.5, rand(), 0.0)
    noise = torch.randn(pixels.shape, generator=generator, device=pixels.device)
    return torch.lerp(pixels, blurred, mix.expand_as(pixels)) + 0.06 * rand() * noise


@torch.no_grad()
def measure(probe: Probe, pixels: Tensor, truth: dict[str, Tensor], rows: Tensor) -> dict[str, float]:
    """Share of right answers by question, among `rows`."""
    logits = {
        key: torch.cat([probe(p)[key] for p in pixels[rows].split(200)]) for key in ("subject", *CLASSES)
    }
    scores = {}
    for key in CLASSES:
        target = truth[key][rows]
        known = target >= 0
        scores[key] = float((logits[key].argmax(1) == target)[known].float().mean())
    wanted = truth["subject"][rows]
    counts = wanted.sum(1).long()
    order = logits["subject"].argsort(1, descending=True)
    hits = torch.stack([wanted[i, order[i, :n]].sum() == n for i, n in enumerate(counts)])
    return scores | {"subject": float(hits.float().mean())}


def halved(pictures: Tensor) -> Tensor:
    """uint8 (N, 3, 2s, 2s) -> uint8 (N, 3, s, s), each pixel the mean of four: what the probe looks at."""
    return torch.cat([F.avg_pool2d(part.float(), 2).round().byte() for part in pictures.split(1000)])


def accuracy_card(probe: Probe, spec: PictureSpec, count: int) -> dict[str, dict[str, float]]:
    """The probe's accuracy on fresh renders, by look."""
    scenes, styles = zip(*(choose_scene(spec, i) for i in range(count)), strict=True)
    pixels, truth = to_model(halved(draw_pictures(spec, count))), truth_tensors(scenes, styles)
    base = torch.tensor([style == BASE_STYLE for style in styles])
    return {
        "base look": measure(probe, pixels, truth, base.nonzero()[:, 0]),
        "styled": measure(probe, pixels, truth, (~base).nonzero()[:, 0]),
    }


def train_probe(
    config: ProbeConfig, store: PictureStore, output: Path, fresh: int = 2000
) -> dict[str, dict[str, float]]:
    """Train or resume; writes probe.safetensors and returns its accuracy on `fresh` new renders, by look."""
    torch.manual_seed(config.seed)
    device = pick_device()
    probe = Probe().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        probe.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    run, start = RunFolder(output), 0
    if state := run.resume(config, CONTENTS, FLAGS):
        with restoring(run.checkpoint):
            probe.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    pictures = halved(store.read(0, config.pictures)).to(device)
    scenes, styles = zip(*(choose_scene(store.spec, i) for i in range(config.pictures)), strict=True)
    truth = {key: value.to(device) for key, value in truth_tensors(scenes, styles).items()}
    rows_generator = torch.Generator().manual_seed(config.seed + start)
    soft_generator = torch.Generator(device).manual_seed(config.seed + start)

    def losses(pixels: Tensor, **truth: Tensor) -> dict[str, Tensor]:
        with autocast(device):
            logits = probe(pixels)
        return {"loss": probe_loss({key: value.float() for key, value in logits.items()}, truth)}

    record = RecordedPass(losses, list(probe.parameters()), device)
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="probe")
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * warmup_cosine(step, config.steps, config.warmup)
        rows = torch.randint(len(pictures), (config.batch_size,), generator=rows_generator)
        rows = to_device(rows, device)
        pixels = soften(to_model(pictures[rows]), soft_generator)
        told = record(
            pixels=pixels.contiguous(memory_format=torch.channels_last),
            **{key: value[rows] for key, value in truth.items()},
        )
        optimizer.step()
        if step % 50 == 0:
            run.log(step, loss=told["loss"])
            progress.set_postfix(loss=f"{float(told['loss']):.3f}")
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            run.save(config, model=probe.state_dict(), optimizer=optimizer.state_dict(), step=step + 1)
    probe.cpu().eval()
    card = accuracy_card(probe, replace(store.spec, seed=store.spec.seed + 1), fresh)
    save_probe(probe, run.path / "probe.safetensors", {"recipe": asdict(config), "accuracy": card})
    return card
