"""Train Kolors-mini's ControlNet on rendered scenes, whose hints the world gives for free (arXiv 2302.05543)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.art import BASE_MODEL_STYLES, BASE_STYLE
from kolors_course.files import atomic_path
from kolors_course.hints import HINTS, scene_boxes, scene_depth, scene_lines
from kolors_course.kolors import KolorsModel, new_controlnet, save_controlnet
from kolors_course.kolors.prompts import PromptEmbeds, encode_rows, token_ids
from kolors_course.kolors.unet import time_ids
from kolors_course.mini.pictures import PictureSpec, PictureStore, choose_scene, in_parallel
from kolors_course.mini.scenes import CaptionedScenes, captioned_scenes, padded_ids
from kolors_course.training.checkpoint import restoring
from kolors_course.training.controlnet import ControlLearner, ControlledDenoising
from kolors_course.training.learning import Training, parameters_of
from kolors_course.training.limits import check_numbers
from kolors_course.training.losses import LossSettings
from kolors_course.training.muon import MuonAdamW
from kolors_course.training.objective import Batch, draw_noise
from kolors_course.training.randomness import STEP, generator_for
from kolors_course.training.recorded import recorded_pass
from kolors_course.training.run import RunFolder, in_autocast, warmup_cosine

CONTENTS = {"net": dict, "optimizer": dict, "step": int}
KINDS = tuple(HINTS)
AT_ONCE = 500  # hints drawn by a process at a time
LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class ControlConfig:
    """How the ControlNet is trained, and on how many pictures.

    Of a batch the shares of `kinds` see lines, boxes and depth; `caption_dropout` is the share without a caption,
    high, so that it learns to read the hint itself (the paper drops half of them).
    """

    steps: int = 3000
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: int = 50
    min_snr_gamma: float = 5.0
    caption_dropout: float = 0.3
    styled_share: float = 0.3
    kinds: tuple[float, float, float] = (0.6, 0.2, 0.2)
    pictures: int = 10000
    captions: int = 4
    size: int = 128
    embedding: tuple[int, ...] = (16, 32, 64, 96)
    seed: int = 5
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        check_numbers(self)


def hints_of(spec: PictureSpec, index: int) -> np.ndarray:
    """(3, H, W) bytes: the hints of picture `index`, of each kind one, by the strongest of their channels."""
    scene, style = choose_scene(spec, index)
    rng = np.random.default_rng((spec.seed, index, 2))
    drawn = (
        scene_lines(scene, spec.size, style, rng),
        scene_boxes(scene, spec.size, style),
        scene_depth(scene, spec.size, style),
    )
    return np.stack([np.asarray(hint).max(-1) for hint in drawn])


def coloured(hints: Tensor, kinds: Tensor) -> Tensor:
    """(B, 3, H, W) in 0 … 1 of hints (B, H, W) in bytes: boxes are red, the others grey.

    Args:
        kinds: (B,) numbers of `HINTS`.
    """
    pixels = hints[:, None].float().repeat(1, 3, 1, 1) / 255
    pixels[kinds == KINDS.index("boxes"), 1:] = 0
    return pixels


def _draw(job: tuple[PictureSpec, list[int]]) -> np.ndarray:
    spec, rows = job
    return np.stack([hints_of(spec, row) for row in rows])


def scene_hints(spec: PictureSpec, rows: list[int], cache: Path) -> np.ndarray:
    """(N, 3, H, W) bytes: the hints of the pictures with these numbers, on disk in `cache`."""
    if not cache.is_file():
        jobs = [(spec, rows[i : i + AT_ONCE]) for i in range(0, len(rows), AT_ONCE)]
        parts = list(tqdm(in_parallel(_draw, jobs), total=len(jobs), desc="hints"))
        with atomic_path(cache) as path, path.open("wb") as file:
            np.save(file, np.concatenate(parts))
    return np.load(cache, mmap_mode="r")


def known_rows(spec: PictureSpec, count: int) -> list[int]:
    """The numbers, below `count`, of the pictures that the base model may see."""
    known = (BASE_STYLE, *BASE_MODEL_STYLES)
    return [i for i in range(count) if choose_scene(spec, i)[1] in known]


@dataclass(frozen=True)
class HintedScenes:
    """The material of a step: random scenes, each with one of its captions and of its hints; a function of the step.

    Attributes:
        hints: see `scene_hints`; in the order of `scenes`.
    """

    model: KolorsModel
    scenes: CaptionedScenes
    hints: np.ndarray
    config: ControlConfig

    def __call__(self, step: int) -> dict[str, object]:
        """What `ControlledDenoising` takes."""
        config, scenes = self.config, self.scenes
        generator = generator_for(config.seed, STEP, step)
        rows = self._rows(generator)
        kinds = torch.multinomial(torch.tensor(config.kinds), len(rows), True, generator=generator)
        pixels = torch.from_numpy(np.stack([self.hints[r, k] for r, k in zip(rows, kinds, strict=True)]))
        noise, timesteps = draw_noise(
            torch.empty(len(rows), *scenes.latents.shape[1:]),
            self.model.schedule.num_train_timesteps,
            generator,
        )
        device = self.model.device
        batch = Batch(
            scenes.latents[rows].float().to(device), self._prompts(rows, generator), self._ids(len(rows))
        )
        return {
            "batch": batch,
            "noise": noise.to(device),
            "timesteps": timesteps.to(device),
            "hints": coloured(pixels, kinds).to(device),
        }

    def _rows(self, generator: torch.Generator) -> Tensor:
        """Numbers of scenes, `styled_share` of them styled."""
        styled, count = self.scenes.styled, self.config.batch_size
        pools = [pool.nonzero()[:, 0] for pool in (~styled, styled)]
        plain, other = (pool[torch.randint(len(pool), (count,), generator=generator)] for pool in pools)
        return torch.where(torch.rand(count, generator=generator) < self.config.styled_share, other, plain)

    @torch.no_grad()
    def _prompts(self, rows: Tensor, generator: torch.Generator) -> PromptEmbeds:
        scenes, device = self.scenes, self.model.device
        caption = torch.randint(scenes.lengths.shape[1], rows.shape, generator=generator)
        told = torch.rand(len(rows), generator=generator) >= self.config.caption_dropout
        empty = token_ids(self.model.tokenizer, "")
        ids = torch.where(
            told[:, None], scenes.input_ids[rows, caption], torch.tensor(padded_ids(empty))
        ).long()
        lengths = torch.where(told, scenes.lengths[rows, caption].long(), len(empty))
        return encode_rows(self.model.text_encoder, ids.to(device), lengths.to(device))

    def _ids(self, count: int) -> Tensor:
        return time_ids(self.config.size, self.config.size).to(self.model.device).expand(count, -1)


def train_control(
    config: ControlConfig, model: KolorsModel, store: PictureStore, output: Path
) -> ControlNetModel:
    """Train (or resume) the ControlNet of `model` in `output`; writes log.jsonl and, at the end, controlnet/.

    Raises:
        CourseError: see `RunFolder.resume`.
    """
    run = RunFolder(output)
    rows = known_rows(store.spec, config.pictures)
    scenes = captioned_scenes(
        store, config.pictures, config.captions, model.vae, model.tokenizer, run.path / "scenes.pt"
    )
    hints = scene_hints(store.spec, rows, run.path / "hints.npy")
    torch.manual_seed(config.seed)
    net = new_controlnet(model, config.embedding)
    # Behind the encoder all is zero, so nothing is changed at the start; a second zero, before it, only costs time:
    # with it 300 steps taught nothing, without it the loss was 3 % lower by then.
    net.controlnet_cond_embedding.conv_out.reset_parameters()
    learner = ControlLearner(model, net)
    objective = ControlledDenoising(LossSettings(min_snr_gamma=config.min_snr_gamma))
    material = HintedScenes(model, scenes, hints, config)
    learning = parameters_of(learner)
    optimizer = MuonAdamW(learning, lr=config.learning_rate)
    training = Training(
        learner,
        recorded_pass(learner, in_autocast(objective, model.device), material, model.device),
        optimizer,
        rates=lambda step: (
            [config.learning_rate * warmup_cosine(step, config.steps, config.warmup, floor=0.01)]
            * len(optimizer.param_groups)
        ),
        clip=lambda: torch.nn.utils.clip_grad_norm_(learning, 1.0),
    )
    state = run.resume(config, CONTENTS)
    if state:
        with restoring(run.checkpoint):
            learner.load(state)
            training.load(state)
    _run(training, config, run)
    net = learner.model.net.eval().requires_grad_(False)
    save_controlnet(net, run.path / "controlnet")
    return net


def _run(training: Training, config: ControlConfig, run: RunFolder) -> None:
    """To the last step, with a log and checkpoints."""
    steps = training.steps(lambda: training.step >= config.steps)
    total = torch.zeros(())
    for losses in tqdm(steps, initial=training.step, total=config.steps, desc="ControlNet"):
        total = total + losses["loss"].cpu() / LOG_EVERY
        if training.step % LOG_EVERY == 0:
            run.log(training.step, loss=total)
            total = torch.zeros(())
        if training.step % config.checkpoint_every == 0 or training.step == config.steps:
            run.save(config, **training.learner.state(), **training.state())
