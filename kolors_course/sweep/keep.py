"""Finished cells on disk, each under a key of all that it depends on: a second run draws only what is missing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from kolors_course.evaluation.probes import Probe
from kolors_course.files import atomic_path, json_text
from kolors_course.kolors.fingerprint import hash_of_weights
from kolors_course.kolors.model import KolorsModel
from kolors_course.lora import hash_of_lora
from kolors_course.sweep.cells import Cell, Sweep
from kolors_course.sweep.measure import SEED_STEP, VARIETY_SEEDS, Measured

FORMAT = 1  # raise it when the same cell is drawn or measured otherwise


@dataclass(frozen=True)
class Kept:
    """A finished cell: what was measured, and the picture that stands for it on a sheet."""

    measured: Measured
    shown: Image.Image


class CellStore:
    """A folder of finished cells, for each a picture KEY.png and KEY.json, which is written last.

    Several sweeps may share it, at the same time too, and it may be deleted at any time.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def get(self, key: str) -> Kept | None:
        """The cell under `key`; None where it is missing, or where a file of it is damaged."""
        try:
            facts = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            measured = Measured(**facts | {"fidelity": tuple(facts["fidelity"])})
            with Image.open(self.folder / f"{key}.png") as picture:
                return Kept(measured, picture.convert("RGB"))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, key: str, kept: Kept) -> None:
        """Keep a finished cell.

        Raises:
            CourseError: the folder cannot be written to.
        """
        with atomic_path(self.folder / f"{key}.png") as path:
            kept.shown.save(path)
        with atomic_path(self.folder / f"{key}.json") as path:
            path.write_text(json_text(asdict(kept.measured), indent=2) + "\n", encoding="utf-8")


def keys_of(model: KolorsModel, probe: Probe, sweep: Sweep) -> list[str]:
    """The key of every cell. `model` has no LoRA on.

    Not in it is how many pictures are drawn at a time, which changes none.
    """
    fixed, files = sweep.fixed, {path: hash_of_lora(path) for path in sweep.lora_files}
    common = {
        "format": FORMAT,
        "weights": [hash_of_weights(part) for part in (model.unet, model.vae, model.text_encoder)],
        "device": model.device.type,
        "probe": hash_of_weights(probe),
        "style": fixed.style,
        "image": sha256(fixed.image.tobytes()).hexdigest() if fixed.image else None,
        "variety": [fixed.varied, VARIETY_SEEDS, SEED_STEP],
    }
    return [_key(common, cell, files) for cell in sweep.cells]


def _key(common: Mapping[str, Any], cell: Cell, files: Mapping[Path, str]) -> str:
    sampling = asdict(cell.sampling)
    del sampling["batch_size"]
    own = {
        "sampling": sampling,
        "loras": [(files[path], strength) for path, strength in cell.loras],
        "wanted": [
            (each.prompt, each.seed, _facts_of(each.scene) if each.scene else None) for each in cell.wanted
        ],
    }
    return sha256(json.dumps({**common, **own}, sort_keys=True).encode()).hexdigest()[:32]


def _facts_of(scene: Any) -> Sequence[Any]:
    return [[s.en for s in scene.subjects], scene.place, scene.time, scene.size, scene.position, scene.seed]


def check_lora_files(sweep: Sweep) -> None:
    """Refuse files that are not there, before a model is loaded.

    Raises:
        CourseError: a LoRA file cannot be read.
    """
    for path in sweep.lora_files:
        hash_of_lora(path)
