"""Scenes rendered in bulk, in parallel, for training and measuring: pictures with their truth."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from kolors_course.art import BASE_STYLE, STYLES, Scene, draw_scene, render, style_train_subjects


@dataclass(frozen=True)
class PictureSpec:
    """Which scenes to draw: `count` scenes from `seed`, a share of them in one of `styles`.

    `style_subjects` is "train" (styled scenes use only the subjects that style data sets may show) or "all".
    """

    count: int
    seed: int
    size: int = 64
    style_share: float = 0.0
    style_subjects: str = "train"
    styles: tuple[str, ...] = STYLES[1:]


def choose_scene(spec: PictureSpec, index: int) -> tuple[Scene, str]:
    """Scene and style of picture `index`: cheap, nothing is drawn."""
    rng = np.random.default_rng((spec.seed, index))
    styled = rng.random() < spec.style_share
    pool = style_train_subjects() if styled and spec.style_subjects == "train" else None
    scene = draw_scene(rng, pool=pool)
    return scene, spec.styles[rng.integers(len(spec.styles))] if styled else BASE_STYLE


def _draw_chunk(job: tuple[PictureSpec, int, int]) -> np.ndarray:
    spec, start, stop = job
    chosen = (choose_scene(spec, index) for index in range(start, stop))
    return np.stack([np.asarray(render(scene, spec.size, style)) for scene, style in chosen])


def draw_pictures(
    spec: PictureSpec, workers: int | None = None
) -> tuple[torch.Tensor, list[Scene], list[str]]:
    """Draw `spec.count` scenes of the training split.

    Returns:
        uint8 pictures (N, 3, size, size), the scenes and their styles. Picture i depends on `spec` and i only.
    """
    step = 250
    jobs = [(spec, i, min(i + step, spec.count)) for i in range(0, spec.count, step)]
    workers = workers or os.cpu_count() or 1
    if len(jobs) == 1:
        chunks = [_draw_chunk(jobs[0])]
    else:
        # "spawn": forking a process in which torch already runs threads can hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            chunks = list(tqdm(pool.map(_draw_chunk, jobs), total=len(jobs), desc="drawing scenes"))
    pictures = torch.from_numpy(np.concatenate(chunks)).permute(0, 3, 1, 2).contiguous()
    scenes, styles = zip(*(choose_scene(spec, i) for i in range(spec.count)), strict=True)
    return pictures, list(scenes), list(styles)


def to_model(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 -> float -1..1."""
    return pictures.float() / 127.5 - 1
