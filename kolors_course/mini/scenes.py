"""What the base model learns from: the latents of many scenes, each with several captions and its facts."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.art import BASE_MODEL_STYLES, BASE_STYLE, random_caption
from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors.prompts import token_ids
from kolors_course.mini.pictures import PictureSpec, PictureStore, choose_scene, in_parallel, to_model
from kolors_course.mini.recorded import to_device
from kolors_course.mini.truth import truth_tensors
from kolors_course.training.objective import draw_noise

ENCODED_AT_ONCE = 50  # pictures: more would only fill the memory
TEXT_ROWS = 32  # the longest caption has 29 tokens; at least one pad row is needed


@dataclass(frozen=True)
class CaptionedScenes:
    """N scenes, on one device.

    Attributes:
        latents: (N, 4, h, w) scaled posterior means, half precision.
        styled: (N,) bool, whether it is drawn in a style; its captions then name the style.
        input_ids: (N, captions, TEXT_ROWS) tokens of each caption, padded on the left with 0, int16.
        lengths: (N, captions) how many of them are real.
        truth: the facts, see `truth_tensors`.
    """

    latents: Tensor
    styled: Tensor
    input_ids: Tensor
    lengths: Tensor
    truth: dict[str, Tensor]

    def to(self, device: torch.device) -> "CaptionedScenes":
        """The same scenes on `device`."""
        return CaptionedScenes(
            self.latents.to(device),
            self.styled.to(device),
            self.input_ids.to(device),
            self.lengths.to(device),
            {key: value.to(device) for key, value in self.truth.items()},
        )


def padded_ids(ids: list[int]) -> list[int]:
    """A row of TEXT_ROWS tokens."""
    return [0] * (TEXT_ROWS - len(ids)) + ids


def _captions(
    job: tuple[PictureSpec, list[int], str, int],
) -> tuple[np.ndarray, np.ndarray, dict[str, Tensor]]:
    spec, rows, tokenizer_file, count = job
    tokenizer = ChatGLMTokenizer(tokenizer_file)
    chosen = [choose_scene(spec, row) for row in rows]
    ids = []
    for row, (scene, style) in zip(rows, chosen, strict=True):
        rng = np.random.default_rng((spec.seed, row, 1))
        ids.append([token_ids(tokenizer, random_caption(scene, rng, style)) for _ in range(count)])
    lengths = np.array([[len(caption) for caption in captions] for captions in ids], np.int16)
    padded = np.array([[padded_ids(caption) for caption in captions] for captions in ids], np.int16)
    return padded, lengths, truth_tensors(*zip(*chosen, strict=True))


def caption_scenes(
    spec: PictureSpec, rows: list[int], tokenizer: ChatGLMTokenizer, captions: int
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """input_ids, lengths and truth (see `CaptionedScenes`) of the scenes with these numbers."""
    jobs = [(spec, rows[i : i + 2000], tokenizer.vocab_file, captions) for i in range(0, len(rows), 2000)]
    parts = list(tqdm(in_parallel(_captions, jobs), total=len(jobs), desc="captions"))
    input_ids, lengths = (torch.from_numpy(np.concatenate([part[i] for part in parts])) for i in (0, 1))
    truth = {key: torch.cat([part[2][key] for part in parts]) for key in parts[0][2]}
    return input_ids, lengths, truth


@torch.no_grad()
def scene_latents(vae: AutoencoderKL, store: PictureStore, rows: list[int]) -> Tensor:
    """Scaled posterior means (N, 4, h, w), half precision, of the pictures with these numbers (rising)."""
    latents, numbers = [], torch.tensor(rows)
    for start in tqdm(range(0, rows[-1] + 1, store.chunk), desc="encoding"):
        wanted = numbers[(numbers >= start) & (numbers < start + store.chunk)] - start
        for batch in store.read(start, start + store.chunk)[wanted].split(ENCODED_AT_ONCE):
            mean = vae.encode(to_model(batch.to(vae.device))).latent_dist.mean
            latents.append((mean * vae.config.scaling_factor).half().cpu())
    return torch.cat(latents)


def captioned_scenes(
    store: PictureStore,
    count: int,
    captions: int,
    vae: AutoencoderKL,
    tokenizer: ChatGLMTokenizer,
    cache: Path,
) -> CaptionedScenes:
    """The first `count` pictures of `store` that the base model may see, read from `cache` if it is there.

    Pictures in the styles that are kept for LoRAs are left out.
    """
    if not cache.is_file():
        store.draw(count)
        known = (BASE_STYLE, *BASE_MODEL_STYLES)
        styles = [choose_scene(store.spec, i)[1] for i in range(count)]
        rows = [i for i, style in enumerate(styles) if style in known]
        styled = torch.tensor([styles[i] != BASE_STYLE for i in rows])
        input_ids, lengths, truth = caption_scenes(store.spec, rows, tokenizer, captions)
        tensors = (scene_latents(vae, store, rows), styled, input_ids, lengths, truth)
        with atomic_path(cache) as path:
            torch.save(tensors, path)
    return CaptionedScenes(*torch.load(cache, weights_only=True))


@dataclass(frozen=True)
class SceneMaterial:
    """What the base model is trained on in a step: random scenes with one of their captions each, made noisy.

    Everything random is drawn on the CPU, whatever the device of the scenes.

    Attributes:
        empty: the tokens of the empty caption.
        caption_dropout: the share of scenes that get it.
        styled_share: the share of scenes that have a style.

    Raises:
        CourseError: all or none of the scenes have a style.
    """

    scenes: CaptionedScenes
    schedule: NoiseSchedule
    empty: list[int]
    generator: torch.Generator
    batch_size: int
    caption_dropout: float
    styled_share: float
    min_snr_gamma: float

    def __post_init__(self) -> None:
        if not all(map(len, self.pools)):
            raise CourseError(
                f"{len(self.scenes.styled)} pictures are too few: all or none of them have a style; take more"
            )

    @cached_property
    def pools(self) -> tuple[Tensor, Tensor]:
        """The numbers of the plain scenes, and of the styled ones."""
        styled = self.scenes.styled.cpu()
        return (~styled).nonzero()[:, 0], styled.nonzero()[:, 0]

    def __call__(self, step: int) -> dict[str, Tensor]:
        """What `BaseObjective` takes."""
        scenes, device, count = self.scenes, self.scenes.latents.device, self.batch_size
        rows = self._draw_rows()
        caption = torch.randint(scenes.lengths.shape[1], (count,), generator=self.generator)
        told = torch.rand(count, generator=self.generator) >= self.caption_dropout
        rows, caption, told = (to_device(x, device) for x in (rows, caption, told))
        latents = scenes.latents[rows].float()
        shape, T = torch.empty(latents.shape), self.schedule.num_train_timesteps
        noise, timesteps = draw_noise(shape, T, self.generator)
        noise = to_device(noise, device)
        empty = to_device(torch.tensor(padded_ids(self.empty), dtype=torch.int16), device)
        return {
            "noisy": self.schedule.add_noise(latents, noise, timesteps),
            "noise": noise,
            "timesteps": to_device(timesteps, device),
            "weight": to_device(self.schedule.min_snr_weight(timesteps, self.min_snr_gamma), device),
            "input_ids": torch.where(told[:, None], scenes.input_ids[rows, caption], empty).long(),
            "lengths": torch.where(told, scenes.lengths[rows, caption].long(), len(self.empty)),
            "told": told.float(),
        } | {key: value[rows] for key, value in scenes.truth.items()}

    def _draw_rows(self) -> Tensor:
        """Numbers of scenes, `styled_share` of them styled."""
        plain, styled = (
            pool[torch.randint(len(pool), (self.batch_size,), generator=self.generator)]
            for pool in self.pools
        )
        return torch.where(
            torch.rand(self.batch_size, generator=self.generator) < self.styled_share, styled, plain
        )
