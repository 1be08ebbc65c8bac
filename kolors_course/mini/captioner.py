"""Train the captioner on rendered scenes: it writes what is true of them, in both languages and three lengths.

Beside the captions it learns to answer the questions of the facts directly, from the same 16 tokens, through heads
that are thrown away afterwards: captions alone teach looking slowly, because they also teach writing. The truth comes
from the scenes; nothing comes from the probe, which judges.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import VisionEncoderDecoderModel

from kolors_course.art import LANGUAGES, LENGTHS, Scene, caption, subjects
from kolors_course.captioner.network import SIDE, STRIDE, CaptionerShape, build_captioner
from kolors_course.captioner.tasks import IGNORED, CaptionWords
from kolors_course.evaluation.probes import CLASSES
from kolors_course.files import atomic_path
from kolors_course.mini.network import CONTENTS, NetworkLearner
from kolors_course.mini.pictures import PictureStore, choose_scene, to_model
from kolors_course.mini.probe import probe_loss, soften
from kolors_course.mini.truth import truth_tensors
from kolors_course.platform.device import pick_device
from kolors_course.training.checkpoint import restoring
from kolors_course.training.learning import Material, Training
from kolors_course.training.limits import check_numbers
from kolors_course.training.randomness import INIT, STEP, generator_for, key_number
from kolors_course.training.recorded import recorded_pass, to_device
from kolors_course.training.run import RunFolder, autocast, warmup_cosine

FLAGS = {"steps": "--captioner-steps"}
LOG_EVERY = 25  # steps


@dataclass(frozen=True)
class CaptionerConfig:
    """How the captioner is trained, and on how many pictures.

    Of the `pictures`, the first `through_vae` went through Kolors-mini's VAE and back; a batch takes `vae_share` of
    its pictures from these. `fact_weight` multiplies the loss of the questions.
    """

    steps: int = 4400
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: int = 150
    weight_decay: float = 0.02
    pictures: int = 40000
    through_vae: int = 1000
    vae_share: float = 0.15
    fact_weight: float = 0.25
    max_grad_norm: float = 1.0
    seed: int = 300
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        check_numbers(self)


class FactHeads(nn.Module):
    """Answers the questions of the probe from the captioner's tokens (B, N, width); only while it is trained.

    Subjects are looked for in every token (log-sum-exp); the other questions are put to all of them.
    """

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.subject = nn.Linear(width, len(subjects()))
        self.whole = nn.Linear(tokens * width, 128)
        self.heads = nn.ModuleDict({key: nn.Linear(128, len(values)) for key, values in CLASSES.items()})

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        whole = F.relu(self.whole(tokens.flatten(1)))
        logits = {key: head(whole) for key, head in self.heads.items()}
        return logits | {"subject": self.subject(tokens).logsumexp(1)}


class CaptionerInTraining(nn.Module):
    """The captioner and its heads."""

    def __init__(self, words: CaptionWords, shape: CaptionerShape):
        super().__init__()
        self.captioner: VisionEncoderDecoderModel = build_captioner(words, shape)
        self.facts = FactHeads((SIDE // STRIDE) ** 2, shape.width)

    def forward(self, pixels: Tensor, read: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of the next token (B, T, V), and of every question."""
        tokens = self.captioner.encoder(pixels)
        written = self.captioner.decoder(
            input_ids=read, encoder_hidden_states=tokens.last_hidden_state, use_cache=False
        )
        return written.logits, self.facts(tokens.last_hidden_state)


def captioner_loss(config: CaptionerConfig, device: torch.device) -> Any:
    """The objective: cross-entropy of the caption's tokens, and the probe's loss of the facts."""

    def objective(
        model: CaptionerInTraining, pixels: Tensor, read: Tensor, answer: Tensor, **truth: Tensor
    ) -> dict[str, Tensor]:
        with autocast(device):
            logits, facts = model(pixels, read)
        words = F.cross_entropy(logits.flatten(0, 1).float(), answer.flatten(), ignore_index=IGNORED)
        told = probe_loss({key: value.float() for key, value in facts.items()}, truth)
        return {"caption": words, "facts": config.fact_weight * told}

    return objective


@torch.no_grad()
def through_vae(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """uint8 pictures (N, 3, s, s) encoded and decoded again: what the best generated pictures look like."""
    parts = []
    for batch in tqdm(pictures.split(20), desc="through the VAE", disable=len(pictures) < 100):
        latents = vae.encode(to_model(batch.to(vae.device))).latent_dist.mean
        decoded = vae.decode(latents).sample.clamp(-1, 1)
        parts.append(((decoded + 1) * 127.5).round().byte().cpu())
    return torch.cat(parts)


def reconstructed(store: PictureStore, vae: AutoencoderKL, count: int, chunk: int = 500) -> Tensor:
    """The first `count` pictures of the store through the VAE, kept beside them in files of `chunk` pictures."""
    parts = [torch.empty(0, 3, store.spec.size, store.spec.size, dtype=torch.uint8)]
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        path = store.folder / f"through-vae-{start}-{stop}.npy"
        if not path.is_file():
            pictures = through_vae(vae, store.read(start, stop))
            with atomic_path(path) as temporary:
                np.save(temporary, pictures.numpy())
        parts.append(torch.from_numpy(np.load(path)))
    return torch.cat(parts)


def choose_rows(config: CaptionerConfig, step: int) -> tuple[Tensor, Tensor]:
    """Which pictures a step sees (B,), and which as the VAE returns them (B,); a function of seed and step."""
    generator = generator_for(config.seed, STEP, step)
    rows = torch.randint(config.pictures, (config.batch_size,), generator=generator)
    if not config.through_vae:
        return rows, torch.zeros(config.batch_size, dtype=torch.bool)
    seen = torch.rand(config.batch_size, generator=generator) < config.vae_share
    return torch.where(seen, rows % config.through_vae, rows), seen


def tell(
    scenes: list[Scene], words: CaptionWords, config: CaptionerConfig, step: int
) -> tuple[Tensor, Tensor]:
    """A caption of each scene, in either language; lengths take turns by steps, so that there is little padding."""
    length = LENGTHS[step % len(LENGTHS)]
    rng = np.random.default_rng((config.seed, step))
    languages = [LANGUAGES[(i + step) % len(LANGUAGES)] for i in range(len(scenes))]
    texts = [caption(scene, language, length, rng) for scene, language in zip(scenes, languages, strict=True)]
    return words.encode(texts, [(language, length) for language in languages])


def captioner_material(
    store: PictureStore, decoded: Tensor, words: CaptionWords, config: CaptionerConfig, device: torch.device
) -> Material:
    """Batches of softened pictures, each with a caption and what is true of it."""
    pictures = store.read(0, config.pictures)
    scenes, styles = zip(*(choose_scene(store.spec, i) for i in range(config.pictures)), strict=True)
    truth = truth_tensors(scenes, styles)

    def material(step: int) -> dict[str, Tensor]:
        rows, seen = choose_rows(config, step)
        chosen = pictures[rows]
        chosen[seen] = decoded[rows[seen]]
        generator = generator_for(config.seed, STEP, step, 1)
        pixels = soften(to_model(chosen), generator).contiguous(memory_format=torch.channels_last)
        read, answer = tell([scenes[row] for row in rows], words, config, step)
        told = {key: value[rows] for key, value in truth.items()}
        batch = {"pixels": pixels, "read": read, "answer": answer, **told}
        return {name: to_device(tensor, device) for name, tensor in batch.items()}

    return material


def train_captioner(
    config: CaptionerConfig,
    shape: CaptionerShape,
    store: PictureStore,
    vae: AutoencoderKL,
    words: CaptionWords,
    output: Path,
) -> VisionEncoderDecoderModel:
    """Train or resume, to the same bits; returns the captioner on the CPU, to look and write."""
    device, run = pick_device(), RunFolder(output)
    torch.manual_seed(key_number(config.seed, INIT))
    # torch's own types leave out memory_format.
    network = CaptionerInTraining(words, shape).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = NetworkLearner(network)
    decoded = reconstructed(store, vae, config.through_vae)
    material = captioner_material(store, decoded, words, config, device)
    optimizer = torch.optim.AdamW(
        learner.groups(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    training = Training(
        learner,
        recorded_pass(learner, captioner_loss(config, device), material, device),
        optimizer,
        rates=lambda step: [config.learning_rate * warmup_cosine(step, config.steps, config.warmup)],
        clip=lambda: nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm),
    )
    state = run.resume(config, CONTENTS, FLAGS)
    if state:
        with restoring(run.checkpoint):
            learner.load(state)
            training.load(state)
    _take_steps(training, config, run)
    return network.captioner.cpu().eval()


def _take_steps(training: Training, config: CaptionerConfig, run: RunFolder) -> None:
    steps = training.steps(lambda: training.step >= config.steps)
    progress = tqdm(steps, initial=training.step, total=config.steps, desc="captioner")
    for losses in progress:
        if (training.step - 1) % LOG_EVERY == 0:
            run.log(training.step - 1, **losses)
            progress.set_postfix({name: f"{float(loss):.3f}" for name, loss in losses.items()})
        if training.step % config.checkpoint_every == 0 or training.step == config.steps:
            run.save(config, **training.learner.state(), **training.state())
