"""Drawn pictures on disk, each under a key of all that it depends on: a second run draws only what is missing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from PIL import Image

from kolors_course.files import atomic_path
from kolors_course.kolors.fingerprint import hash_of_weights
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.sampling import check_seeds, generate
from kolors_course.kolors.settings import Sampling
from kolors_course.prompting import check_prompts

FORMAT = 1  # raise it when the same prompt is drawn otherwise


class DrawnStore:
    """A folder of pictures KEY.png. Several commands may share it, and it may be deleted at any time."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def get(self, key: str) -> Image.Image | None:
        """The picture under `key`; None where it is missing or damaged."""
        try:
            with Image.open(self.folder / f"{key}.png") as picture:
                return picture.convert("RGB")
        except (OSError, ValueError, SyntaxError):
            return None

    def put(self, key: str, picture: Image.Image) -> None:
        """Keep a picture.

        Raises:
            CourseError: the folder cannot be written to.
        """
        with atomic_path(self.folder / f"{key}.png") as path:
            picture.save(path)


def picture_keys(
    model: KolorsModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling,
    loras: Sequence[tuple[str, float]] = (),
) -> list[str]:
    """The key of every picture that `model` draws, with whatever LoRAs it wears.

    Not in it is how many pictures are drawn at a time, which changes none.

    Args:
        loras: hash of the file and strength of each LoRA that is on.
    """
    said = asdict(sampling)
    del said["batch_size"]
    common = {
        "format": FORMAT,
        "weights": [hash_of_weights(part) for part in (model.unet, model.vae, model.text_encoder)],
        "device": model.device.type,
        "sampling": said,
        "loras": list(loras),
    }
    rows = ({**common, "prompt": prompt, "seed": seed} for prompt, seed in zip(prompts, seeds, strict=True))
    return [sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:32] for row in rows]


def draw_kept(
    model: KolorsModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling,
    store: DrawnStore,
    keys: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> list[Image.Image]:
    """The picture of every prompt and seed, kept or drawn now; each is kept as soon as its batch is finished.

    Args:
        keys: see `picture_keys`.
        progress: called with the number of pictures that are there so far.

    Raises:
        CourseError: see `generate`; or the store cannot be written to.
    """
    check_seeds(seeds)
    check_prompts(prompts)
    found = {i: picture for i, key in enumerate(keys) if (picture := store.get(key))}
    missing = [i for i in range(len(keys)) if i not in found]
    if progress:
        progress(len(found))
    for start in range(0, len(missing), sampling.batch_size):
        rows = missing[start : start + sampling.batch_size]
        drawn = generate(model, [prompts[i] for i in rows], [seeds[i] for i in rows], sampling)
        for i, picture in zip(rows, drawn, strict=True):
            store.put(keys[i], picture)
            found[i] = picture
        if progress:
            progress(len(found))
    return [found[i] for i in range(len(keys))]
