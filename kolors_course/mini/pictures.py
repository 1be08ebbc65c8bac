"""Scenes rendered in bulk, in parallel, and kept on disk: what VAE, probe and base model are trained on."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from tqdm.auto import tqdm

from kolors_course.art import (
    BASE_STYLE,
    LORA_STYLES,
    STYLES,
    Scene,
    draw_scene,
    render,
    style_train_subjects,
)
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.platform.machine import available_cores

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class PictureSpec:
    """Which scenes to draw, without end: picture i depends on this and on i only.

    Attributes:
        size: side in pixels.
        styled_share: the share of pictures in a style; the others have the default look.
        styles: what the styled pictures are drawn in; a name that occurs twice is drawn twice as often.
        lora_subjects: which subjects pictures in `LORA_STYLES` show: "train" leaves out those that LoRAs are
            tested on, so that nobody has seen them in these styles; "all" is for the judge, who must know them.
    """

    seed: int
    size: int = 128
    styled_share: float = 0.0
    styles: tuple[str, ...] = STYLES[1:]
    lora_subjects: str = "train"


def choose_scene(spec: PictureSpec, index: int) -> tuple[Scene, str]:
    """Scene and style of picture `index`, from the training side of the hold-out: cheap, nothing is drawn."""
    rng = np.random.default_rng((spec.seed, index))
    style = BASE_STYLE
    if rng.random() < spec.styled_share:
        style = spec.styles[rng.integers(len(spec.styles))]
    only_train = style in LORA_STYLES and spec.lora_subjects == "train"
    return draw_scene(rng, pool=style_train_subjects() if only_train else None), style


def _draw(job: tuple[PictureSpec, int, int]) -> np.ndarray:
    spec, start, stop = job
    chosen = (choose_scene(spec, index) for index in range(start, stop))
    pictures = np.stack([np.asarray(render(scene, spec.size, style)) for scene, style in chosen])
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


def _draw_file(job: tuple[PictureSpec, int, int, Path]) -> None:
    spec, start, stop, path = job
    with atomic_path(path) as temporary:
        np.save(temporary, _draw((spec, start, stop)))


def in_parallel(function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """`function` of every job, in order, by one process a core; a single job is done here."""
    if len(jobs) < 2:
        yield from map(function, jobs)
        return
    # "spawn": forking a process in which torch already runs threads can hang.
    with ProcessPoolExecutor(available_cores(), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, jobs)


def draw_pictures(spec: PictureSpec, count: int, start: int = 0) -> torch.Tensor:
    """Pictures `start` … `start + count - 1` as uint8 (count, 3, size, size), drawn here and now."""
    return torch.from_numpy(_draw((spec, start, start + count)))


@dataclass(frozen=True)
class PictureStore:
    """Pictures of a spec in files of `chunk` pictures; what is missing is drawn when it is asked for.

    Several processes may use one store at the same time: equal names hold equal bytes.
    """

    spec: PictureSpec
    folder: Path
    chunk: int = 1000

    def _files(self, count: int) -> list[Path]:
        ensure_folder(self.folder)
        label, told = self.folder / "spec.txt", f"{self.chunk} in a file: {self.spec}\n"
        if not label.is_file():
            with atomic_path(label) as temporary:
                temporary.write_text(told, encoding="utf-8")
        elif label.read_text(encoding="utf-8") != told:
            raise CourseError(
                f"{self.folder} holds pictures drawn with other settings ({label} says which); "
                "remove it or choose another output folder"
            )
        return [self.folder / f"{i:05d}.npy" for i in range(-(-count // self.chunk))]

    def draw(self, count: int) -> None:
        """Make sure that the first `count` pictures (rounded up to whole files) are there.

        Raises:
            CourseError: the folder holds pictures of another spec, or cannot be written to.
        """
        jobs = [
            (self.spec, i * self.chunk, (i + 1) * self.chunk, path)
            for i, path in enumerate(self._files(count))
            if not path.is_file()
        ]
        progress = tqdm(total=len(jobs) * self.chunk, desc="drawing scenes", disable=not jobs)
        for _ in in_parallel(_draw_file, jobs):
            progress.update(self.chunk)
        progress.close()

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Pictures `start` … `stop - 1` as uint8 (N, 3, size, size), drawn if need be."""
        self.draw(stop)
        parts = []
        for i, path in enumerate(self._files(stop)):
            first = i * self.chunk
            if first + self.chunk > start:
                parts.append(np.load(path)[max(start - first, 0) : stop - first])
        return torch.from_numpy(np.concatenate(parts))


def to_model(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 -> float -1..1."""
    return pictures.float() / 127.5 - 1
