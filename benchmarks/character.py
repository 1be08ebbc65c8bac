"""One heroine through a story: what keeps her herself, and what it costs.

    python benchmarks/character.py                                       # about ten minutes on one core
    python benchmarks/character.py --stories 2 --steps 8 --output /tmp/x # only to see it run

Kumquat, a ginger rabbit with a red scarf, is in no picture that Kolors-mini has seen; how she truly looks in any
scene is known. Stories of eight different scenes with her are drawn by each method, and every picture is held against
her true drawing (see kolors_course/evaluation/consistency.py):

* animal: "a rabbit ...", as any prompt has it. * template: what she looks like, in the same words in each prompt.
* noise: all eight pictures start from the same noise. * attention: they look at one another, see
kolors_course/kolors/sharing.py; in her box: only at the place where the scene has her; first: at the first one alone,
with its statistics, as StyleAligned does.
* reference: they look at a true portrait of her, brought to the noise of each step (reference only).
* LoRA: of her, from 16 pictures in five of the ten places; the prompts call her by her name.

Beside them: the same true pictures, and what is left of them after the VAE. Writes character.json and a sheet of the
first story, with commit, versions and machine. What is finished is found again in --work after an interruption.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from diffusers.utils import make_image_grid
from PIL import Image

from kolors_course.art import (
    Heroine,
    Scene,
    Subject,
    caption,
    character_cutout,
    character_pictures,
    kumquat,
    random_scene,
    render_character,
)
from kolors_course.cli.demo import SETTINGS
from kolors_course.dataset import write_dataset
from kolors_course.evaluation import (
    Probe,
    agreement,
    colour_difference,
    find_copies,
    load_probe,
    look,
    look_features,
    mean_interval,
    pixel_vectors,
    sight,
    spread,
)
from kolors_course.files import atomic_path, ensure_folder, json_text
from kolors_course.kolors import (
    KolorsModel,
    Sharing,
    current_profile,
    decode_latents,
    draw_beside,
    encode_pictures,
    generate,
    load_profile,
    shared_attention,
)
from kolors_course.lora import load_lora, unload_lora
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.platform.paths import data_dir
from kolors_course.platform.provenance import provenance
from kolors_course.training.lora import LoraTraining, train_lora

PANELS = 8
TRAINED_PLACES = ("meadow", "snow", "beach", "city", "room")  # the other five are new to the LoRA
PICTURES = 16
EVERYWHERE = ("down", "mid", "up")
STORY_SEED, NOISE_SEED = 7, 50_000
FACTS = ("place", "time", "size", "position")


@dataclass(frozen=True)
class Method:
    """One way of drawing a story.

    Attributes:
        rank: of her LoRA; None without one.
        words: what prompts call her: "animal", "looks" or "name".
        noise: whether all pictures start from the same.
        sharing: of self-attention.
        boxed: whether only her place in each picture is shared.
        reference: whether they look at a true portrait of her.
    """

    name: str
    words: str
    rank: int | None = None
    noise: bool = False
    sharing: Sharing | None = None
    boxed: bool = False
    reference: bool = False


ALIGNED = Sharing(1.0, bank=1, blocks=EVERYWHERE, normalise=True)
METHODS = (
    Method("animal", "animal"),
    Method("template", "looks"),
    Method("template, noise", "looks", noise=True),
    Method("template, attention", "looks", sharing=Sharing()),
    Method("template, attention in her box", "looks", sharing=Sharing(), boxed=True),
    Method("template, first", "looks", sharing=ALIGNED),
    Method("template, reference", "looks", sharing=ALIGNED, reference=True),
    Method("LoRA 4", "name", 4),
    Method("LoRA 16", "name", 16),
    Method("LoRA 4, noise", "name", 4, noise=True),
    Method("LoRA 4, attention", "name", 4, sharing=Sharing()),
    Method("LoRA 4, attention in her box", "name", 4, sharing=Sharing(), boxed=True),
    Method("LoRA 4, first", "name", 4, sharing=ALIGNED),
    Method("LoRA 4, noise, attention in her box", "name", 4, noise=True, sharing=Sharing(), boxed=True),
)


def stories(character: Heroine, count: int) -> list[list[Scene]]:
    """Stories of eight scenes with the character alone; within one, no place comes twice at the same time."""
    rng = np.random.default_rng(STORY_SEED)
    told = []
    for _ in range(count):
        scenes: dict[tuple[str, str], Scene] = {}
        while len(scenes) < PANELS:
            scene = random_scene(rng, (character.subject,))
            scenes.setdefault((scene.place, scene.time), scene)
        told.append(list(scenes.values()))
    return told


def prompts_of(character: Heroine, scenes: Sequence[Scene], words: str) -> list[str]:
    """A sentence for each scene, in English and Chinese by turns."""
    called: Subject = {"animal": character.animal, "looks": character.described, "name": character.subject}[
        words
    ]
    return [
        caption(replace(scene, subjects=(called,)), ("en", "zh")[i % 2]) for i, scene in enumerate(scenes)
    ]


def draw(model: KolorsModel, character: Heroine, method: Method, scenes: Sequence[Scene], story: int) -> list:
    """The pictures of one story; her LoRA, if any, is on."""
    prompts = prompts_of(character, scenes, method.words)
    seeds = [NOISE_SEED + story * PANELS + (0 if method.noise else i) for i in range(len(scenes))]
    sampling = replace(model.sampling, batch_size=len(scenes))
    if method.reference and method.sharing:
        shown = Scene((character.subject,), "meadow", "day", "big", "middle", 0)
        portrait = render_character(character, shown)
        (prompt,) = prompts_of(character, [shown], method.words)
        return draw_beside(model, portrait, prompt, prompts, seeds, sampling, method.sharing)
    masks = torch.stack([place_of(character, scene) for scene in scenes]) if method.boxed else None
    shared = (
        shared_attention(model.unet, len(scenes), method.sharing, masks) if method.sharing else nullcontext()
    )
    with shared:
        return generate(model, prompts, seeds, sampling)


def place_of(character: Heroine, scene: Scene) -> torch.Tensor:
    """(128, 128), 1 in the box of the character where the world has it in this scene, 0 elsewhere."""
    cutout, mask = character_cutout(character, scene), torch.zeros(128, 128)
    height, width = cutout.alpha.shape
    mask[cutout.top : cutout.top + height, cutout.left : cutout.left + width] = 1
    return mask


@dataclass(frozen=True)
class Measured:
    """Means over the pictures of one story.

    Attributes:
        herself: share of pictures more like her than like the plain animal.
        coat, scarf: ΔE*ab to the truth of the same scene.
        look: cosine to the truth.
        coat_between, look_between: of the pairs of pictures with each other.
        variety: spread of the pictures over that of the true ones; 1 is as varied as the world.
        closest: distance of the two most alike over that of the true ones; near 0 is the same picture again.
        facts: share of place, time, size and position that are right.
    """

    herself: float
    coat: float
    scarf: float
    look: float
    coat_between: float
    look_between: float
    variety: float
    closest: float
    facts: float


def measure(
    probe: Probe, character: Heroine, scenes: Sequence[Scene], pictures: Sequence[Image.Image]
) -> Measured:
    """Hold the pictures of one story against the true ones."""
    true = [render_character(character, scene) for scene in scenes]
    seen, wanted = (
        [sight(character, scene, picture) for scene, picture in zip(scenes, kind, strict=True)]
        for kind in (pictures, true)
    )
    cut, cut_true = (look_features(probe, [each.cutout for each in kind]) for kind in (seen, wanted))
    answers = [
        agreement(replace(scene, subjects=(character.animal,)), verdict)
        for scene, verdict in zip(scenes, look(probe, pictures), strict=True)
    ]
    known = [answer[fact] for answer in answers for fact in FACTS if fact in answer]
    pairs = list(combinations(range(len(pictures)), 2))
    beside = list(zip(seen, wanted, strict=True))
    return Measured(
        herself=fmean(each.herself > 0 for each in seen),
        coat=fmean(colour_difference(a.coat, b.coat) for a, b in beside),
        scarf=fmean(colour_difference(a.accessory, b.accessory) for a, b in beside),
        look=float((cut * cut_true).sum(1).mean()),
        coat_between=fmean(colour_difference(seen[i].coat, seen[j].coat) for i, j in pairs),
        look_between=fmean(float(cut[i] @ cut[j]) for i, j in pairs),
        variety=spread(pictures) / spread(true),
        closest=closest(pictures) / closest(true),
        facts=fmean(known),
    )


def closest(pictures: Sequence[Image.Image]) -> float:
    """The distance of the two pictures that are most alike."""
    points = pixel_vectors(pictures)
    return float(torch.pdist(points).min())


def copied(
    training: Sequence[Image.Image], true: Sequence[Image.Image], pictures: Sequence[Image.Image]
) -> float:
    """The share of pictures nearer to one of the LoRA's training pictures than all but 5 % of the true ones are."""
    found = find_copies(pixel_vectors(pictures), pixel_vectors(true), pixel_vectors(training))
    return len(found.suspects) / len(pictures)


Drawer = Callable[[Sequence[Scene], int], list[Image.Image]]


def contestants(
    model: KolorsModel, character: Heroine, loras: dict[int, Path]
) -> Iterator[tuple[str, Drawer]]:
    """Names and ways of drawing a story; a LoRA is on as long as its contestant has its turn."""
    yield "world", lambda scenes, story: [render_character(character, scene) for scene in scenes]
    yield (
        "world through the VAE",
        lambda scenes, story: _through_vae(model, [render_character(character, scene) for scene in scenes]),
    )
    for method in METHODS:
        if method.rank:
            load_lora(model.unet, loras[method.rank])
        try:
            yield method.name, partial(draw, model, character, method)
        finally:
            unload_lora(model.unet)


@torch.no_grad()
def _through_vae(model: KolorsModel, pictures: list[Image.Image]) -> list[Image.Image]:
    return decode_latents(model, encode_pictures(model, pictures))


def train(model: KolorsModel, dataset: Path, folder: Path, rank: int, steps: int) -> Path:
    """Her LoRA; the same call goes on where it was interrupted."""
    recipe = LoraTraining(steps=steps, settings=replace(SETTINGS, rank=rank, alpha=float(rank)))
    return train_lora(model, dataset, folder, recipe).path


def summary(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Means over stories with their 95 % intervals; a story is one observation, for its pictures share much."""
    return {
        key: {
            name: round(value, 4) for name, value in asdict(mean_interval([row[key] for row in rows])).items()
        }
        for key in rows[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stories", type=int, default=12, help="of eight pictures each (default %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=150, help="of training a LoRA (default %(default)s)")
    parser.add_argument("--output", type=Path, default=data_dir() / "lessons" / "10")
    parser.add_argument("--work", type=Path, default=Path("outputs") / "character")
    arguments = parser.parse_args()
    limit_threads()
    character, model = kumquat(), load_profile(current_profile("mini"))
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    work = ensure_folder(arguments.work / f"{arguments.stories}-{arguments.steps}")
    shown = list(character_pictures(character, PICTURES, places=TRAINED_PLACES))
    if not (work / "pictures").exists():
        write_dataset(work / "pictures", shown)
    loras = {
        rank: train(model, work / "pictures", work / f"lora-{rank}", rank, arguments.steps)
        for rank in (4, 16)
    }
    told = stories(character, arguments.stories)
    true = [render_character(character, scene) for scenes in told for scene in scenes]
    results, rows_of_sheet = {}, []
    for name, drawer in contestants(model, character, loras):
        kept, sheet = work / f"{name}.json", work / f"{name}.png"
        if not kept.is_file():
            drawn = [drawer(scenes, story) for story, scenes in enumerate(told)]
            rows = [asdict(measure(probe, character, *each)) for each in zip(told, drawn, strict=True)]
            share = copied([picture for picture, _ in shown], true, [p for story in drawn for p in story])
            make_image_grid(drawn[0], 1, PANELS).save(sheet)
            _write(kept, {"copied": share, "stories": rows})
        found = json.loads(kept.read_text(encoding="utf-8"))
        results[name] = {"copied": round(found["copied"], 4), **summary(found["stories"])}
        rows_of_sheet.append(Image.open(sheet))
        print(
            name, {key: value["value"] for key, value in results[name].items() if key != "copied"}, flush=True
        )
    report = {
        "command": f"python benchmarks/character.py --stories {arguments.stories} --steps {arguments.steps}",
        **provenance(pick_device()),
        "stories": arguments.stories,
        "panels": PANELS,
        "training": {"pictures": PICTURES, "steps": arguments.steps, "places": TRAINED_PLACES},
        "results": results,
    }
    ensure_folder(arguments.output)
    _write(arguments.output / "character.json", report)
    grid = make_image_grid(rows_of_sheet, len(rows_of_sheet), 1).quantize(256, dither=Image.Dither.NONE)
    with atomic_path(arguments.output / "character.png") as path:
        grid.save(path, optimize=True)


def _write(file: Path, values: object) -> None:
    with atomic_path(file) as path:
        path.write_text(json_text(values, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
