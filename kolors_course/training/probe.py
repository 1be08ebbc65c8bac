"""Train the probe network on rendered scenes in all styles."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.art import BASE_STYLE
from kolors_course.evaluation.probes import CLASSES, Probe, probe_loss, save_probe, truth_tensors
from kolors_course.platform.device import pick_device
from kolors_course.training.pictures import PictureSpec, draw_pictures, to_model
from kolors_course.training.run import RunFolder, autocast, warmup_cosine


@dataclass(frozen=True)
class ProbeConfig:
    """The recipe; 60 % of the scenes are styled, with all subjects, because the judge must know them all."""

    steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.02
    pictures: int = 30000
    style_share: float = 0.6
    size: int = 64
    seed: int = 100
    checkpoint_every: int = 500


def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the pictures a little and add noise: a VAE's pictures are never as crisp as a rendering."""
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    mix = torch.rand(len(pixels), 1, 1, 1, generator=generator)
    mix = torch.where(torch.rand(mix.shape, generator=generator) < 0.5, mix, 0.0)
    noise = (
        torch.randn(pixels.shape, generator=generator)
        * 0.06
        * torch.rand(len(pixels), 1, 1, 1, generator=generator)
    )
    return torch.lerp(pixels, blurred, mix) + noise


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


def train_probe(config: ProbeConfig, output: Path) -> dict[str, dict[str, float]]:
    """Train or resume; writes probe.safetensors and returns its accuracy on 2000 fresh renders by look."""
    torch.manual_seed(config.seed)
    device = pick_device()
    probe = Probe().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        probe.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    run, start = RunFolder(output), 0
    if state := run.resume(config):
        probe.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    pictures, scenes, styles = draw_pictures(
        PictureSpec(config.pictures, config.seed, config.size, config.style_share, "all")
    )
    truth = truth_tensors(scenes, styles)
    generator = torch.Generator().manual_seed(config.seed + start)
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="probe")
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * warmup_cosine(step, config.steps, config.warmup)
        rows = torch.randint(len(pictures), (config.batch_size,), generator=generator)
        pixels = soften(to_model(pictures[rows]), generator).to(device, memory_format=torch.channels_last)
        with autocast(device):
            logits = probe(pixels)
        loss = probe_loss(
            {k: v.float() for k, v in logits.items()}, {k: v[rows].to(device) for k, v in truth.items()}
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            run.log(step, loss=loss.item())
            progress.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            run.save(config, model=probe.state_dict(), optimizer=optimizer.state_dict(), step=step + 1)
    fresh, scenes, styles = draw_pictures(
        PictureSpec(2000, config.seed + 1, config.size, config.style_share, "all")
    )
    pixels, truth = to_model(fresh), truth_tensors(scenes, styles)
    base = torch.tensor([style == BASE_STYLE for style in styles])
    probe.cpu().eval()
    card = {
        "base look": measure(probe, pixels, truth, base.nonzero()[:, 0]),
        "styled": measure(probe, pixels, truth, (~base).nonzero()[:, 0]),
    }
    save_probe(probe, run.path / "probe.safetensors", {"recipe": asdict(config), "accuracy": card})
    return card
