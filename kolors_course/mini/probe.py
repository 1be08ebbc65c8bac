"""Train the probe network on rendered scenes in all styles."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.art import BASE_STYLE
from kolors_course.evaluation.probes import CLASSES, Probe, save_probe
from kolors_course.mini.network import CONTENTS, NetworkLearner
from kolors_course.mini.pictures import (
    PictureSpec,
    PictureStore,
    choose_scene,
    draw_pictures,
    to_model,
)
from kolors_course.mini.recorded import recorded_pass, to_device
from kolors_course.mini.truth import truth_tensors
from kolors_course.platform.device import pick_device
from kolors_course.training.checkpoint import restoring
from kolors_course.training.learning import Material, Training
from kolors_course.training.limits import check_numbers
from kolors_course.training.run import RunFolder, autocast, warmup_cosine

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


def probe_material(store: PictureStore, config: ProbeConfig, device: torch.device, seed: int) -> Material:
    """Batches of softened pictures with what is true of them."""
    pictures = halved(store.read(0, config.pictures)).to(device)
    scenes, styles = zip(*(choose_scene(store.spec, i) for i in range(config.pictures)), strict=True)
    truth = {key: value.to(device) for key, value in truth_tensors(scenes, styles).items()}
    rows_generator = torch.Generator().manual_seed(seed)
    soft_generator = torch.Generator(device).manual_seed(seed)

    def material(step: int) -> dict[str, Tensor]:
        rows = torch.randint(len(pictures), (config.batch_size,), generator=rows_generator)
        rows = to_device(rows, device)
        pixels = soften(to_model(pictures[rows]), soft_generator)
        told = {key: value[rows] for key, value in truth.items()}
        return {"pixels": pixels.contiguous(memory_format=torch.channels_last), **told}

    return material


def train_probe(
    config: ProbeConfig, store: PictureStore, output: Path, fresh: int = 2000
) -> dict[str, dict[str, float]]:
    """Train or resume; writes probe.safetensors and returns its accuracy on `fresh` new renders, by look."""
    torch.manual_seed(config.seed)
    device, run = pick_device(), RunFolder(output)
    # torch's own types leave out memory_format.
    probe = Probe().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = NetworkLearner(probe)
    optimizer = torch.optim.AdamW(
        learner.groups(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    state = run.resume(config, CONTENTS, FLAGS)
    material = probe_material(store, config, device, config.seed + (state["step"] if state else 0))

    def objective(probe: Probe, pixels: Tensor, **truth: Tensor) -> dict[str, Tensor]:
        with autocast(device):
            logits = probe(pixels)
        return {"loss": probe_loss({key: value.float() for key, value in logits.items()}, truth)}

    training = Training(
        learner,
        recorded_pass(learner, objective, material, device),
        optimizer,
        rates=lambda step: [config.learning_rate * warmup_cosine(step, config.steps, config.warmup)],
    )
    if state:
        with restoring(run.checkpoint):
            learner.load(state)
            training.load(state)
    steps = training.steps(lambda: training.step >= config.steps)
    progress = tqdm(steps, initial=training.step, total=config.steps, desc="probe")
    for losses in progress:
        if (training.step - 1) % 50 == 0:
            run.log(training.step - 1, loss=losses["loss"])
            progress.set_postfix(loss=f"{float(losses['loss']):.3f}")
        if training.step % config.checkpoint_every == 0 or training.step == config.steps:
            run.save(config, **learner.state(), **training.state())
    probe.cpu().eval()
    card = accuracy_card(probe, replace(store.spec, seed=store.spec.seed + 1), fresh)
    save_probe(probe, run.path / "probe.safetensors", {"recipe": asdict(config), "accuracy": card})
    return card
