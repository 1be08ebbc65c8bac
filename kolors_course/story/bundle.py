"""What is handed in: a LoRA under its ruled name, a story's pictures with what draws them again, card, licence.

The camp asked for a LoRA named 队伍名称-可图Kolors训练-xxxxxx, a description, and at least eight pictures with
prompts that others can reproduce. Kolors' model licence counts a LoRA as a derivative: who passes one on gives a copy
of the licence (2a), says that the model was changed (2b), and passes on section 3's restrictions as terms of use.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import Strict

from kolors_course.errors import CourseError, brief, on_one_line, printable
from kolors_course.files import atomic_path, ensure_folder, json_text, read_text
from kolors_course.story.storyboard import Storyboard
from kolors_course.untrusted import Integer, Text, parse_json, read_as

if TYPE_CHECKING:
    from kolors_course.kolors import KolorsModel, Sampling

MIN_PICTURES = 8
MANIFEST = "manifest.json"
LICENCE, NOTICE, CARD = "LICENSE", "NOTICE", "README.md"
MAX_LICENCE = 2**18  # bytes
MAX_SIDE = 4096  # px of a picture that is compared
TOLERANCE = 1.0  # of 255, mean over a picture: devices round differently
_NAME = re.compile(r"[^\s/\\:*?\"<>|.-][^/\\:*?\"<>|.]{0,40}-可图Kolors训练-[A-Za-z0-9]{6}")
_FILE = re.compile(r"(?:pictures/)?[^/\\\0]{1,120}")
_WORDS = {
    "apache": (
        "Apache-2.0",
        "The base model is under the Apache License 2.0; so is this LoRA. 底模与本 LoRA 均采用 Apache License 2.0。",
    ),
    "kolors": (
        "other",
        "A model derivative of Kolors by the Kuaishou Kolors team; see LICENSE. Whoever receives it receives that "
        "licence too and must keep to it, section 3 (a) and (b) included: free for academic research, commercial use "
        "needs registration with Kuaishou, and outputs must not be used to improve other models. "
        "本 LoRA 是可图 Kolors 的模型衍生品，随附许可证全文；接收者须遵守该许可证，包括第 3 条 (a)(b)。",
    ),
}


@dataclass(frozen=True)
class BundlePicture:
    """A picture of a bundle and what draws it. `file`: below the bundle's folder."""

    file: Text
    prompt: Text
    negative: Text
    seed: Integer
    caption_zh: Text = ""
    caption_en: Text = ""


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself in manifest.json.

    Attributes:
        name: by the rule, of the folder's LoRA and of the repository.
        sampling: what `check_said` reads, and `size` (width, height).
        files: name -> sha256 of every other file.
        aesthetic: mean aesthetic score, as the author measured it.
    """

    name: Text
    about: Text
    model: Text
    licence: Text
    lora: Text
    strength: Annotated[float, Strict()]
    sampling: dict[str, Any]
    pictures: tuple[BundlePicture, ...]
    files: dict[str, Text]
    aesthetic: Annotated[float, Strict()] | None = None


def bundle_name(team: str, number: str) -> str:
    """队伍名称-可图Kolors训练-xxxxxx.

    Raises:
        CourseError: no name of a team, or no six letters or digits.
    """
    name = f"{team.strip()}-可图Kolors训练-{number}"
    if not _NAME.fullmatch(name):
        raise CourseError(
            f"'{brief(name, 80)}' is no name by the rule 队伍名称-可图Kolors训练-xxxxxx: a team of 1 to 41 "
            'characters without / \\ : * ? " < > | or a dot, and six letters or digits'
        )
    return name


def licence_kind(text: str) -> str:
    """ "apache" where a licence is the Apache License 2.0, else "kolors"."""
    head = " ".join(text[:2000].split())
    return "apache" if "Apache License Version 2.0" in head.replace(",", "") else "kolors"


def check_bundle_parts(storyboard: Storyboard, lora: Path, licence: str) -> None:
    """Refuse, before anything is drawn, what could not be handed in.

    Raises:
        CourseError: fewer than `MIN_PICTURES` panels, a LoRA that is no file, or an empty licence.
    """
    if len(storyboard.panels) < MIN_PICTURES:
        raise CourseError(
            f"{storyboard.path} has {len(storyboard.panels)} panels; at least {MIN_PICTURES} pictures are handed in"
        )
    if not lora.is_file():
        raise CourseError(f"{lora} does not exist; give the LoRA that is handed in")
    if len(licence.strip()) < 100:
        raise CourseError("the licence is empty; give the whole text of the base model's licence")


def write_bundle(
    folder: str | Path,
    manifest: Manifest,
    pictures: Sequence[Image.Image],
    page: Image.Image,
    lora: Path,
    licence: str,
) -> Path:
    """Write a bundle into a new or empty folder; `manifest.json` comes last. `manifest.files` is filled in here.

    Raises:
        CourseError: the folder holds something, or cannot be written to.
    """
    folder = ensure_folder(folder)
    if any(folder.iterdir()):
        raise CourseError(f"{folder} is not empty; give a new folder, so that nothing else is handed in")
    ensure_folder(folder / "pictures")
    for entry, picture in zip(manifest.pictures, pictures, strict=True):
        with atomic_path(folder / entry.file) as temporary:
            picture.save(temporary, pnginfo=_png_facts(manifest, entry))
    with atomic_path(folder / "story.png") as temporary:
        page.save(temporary)
    with atomic_path(folder / manifest.lora) as temporary:
        shutil.copyfile(lora, temporary)
    texts = {LICENCE: licence, NOTICE: _notice(manifest), CARD: _card(manifest)}
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(printable(text), encoding="utf-8")
    whole = replace(manifest, files={name: _digest(folder / name) for name in files_of(folder)})
    with atomic_path(folder / MANIFEST) as temporary:
        temporary.write_text(json_text(asdict(whole), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return folder / MANIFEST


def files_of(folder: Path) -> list[str]:
    """All files below a folder, but hidden ones, as names relative to it, sorted."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _png_facts(manifest: Manifest, picture: BundlePicture) -> PngInfo:
    facts = PngInfo()
    said: Mapping[str, object] = {
        "prompt": picture.prompt,
        "negative": picture.negative,
        "seed": picture.seed,
        "model": manifest.model,
        "lora": f"{manifest.lora}:{manifest.strength:g}",
        **manifest.sampling,
    }
    for key, value in said.items():
        facts.add_itxt(key, printable(str(value)))
    return facts


def _notice(manifest: Manifest) -> str:
    return (
        f"{manifest.name}\n\nCHANGES 更改说明: {manifest.lora} is not the model {manifest.model} but a change to "
        "it: low-rank updates (LoRA), trained by the author of this bundle, that change its weights when they are "
        f"loaded. The weights of {manifest.model} themselves are not contained.\n\n{_WORDS[manifest.licence][1]}\n"
    )


def _card(manifest: Manifest) -> str:
    """The page of the repository, with the front matter that ModelScope and Hugging Face read."""
    rows = [
        f"| ![]({each.file}) | {_cell(each.caption_zh)} {_cell(each.caption_en)} | {_cell(each.prompt)} | "
        f"{_cell(each.negative) or '–'} | {each.seed} |"
        for each in manifest.pictures
    ]
    score = (
        "not measured 未测"
        if manifest.aesthetic is None
        else f"{manifest.aesthetic:.2f} (stated by the author)"
    )
    said = ", ".join(f"{name} {value}" for name, value in manifest.sampling.items())
    return "\n".join(
        [
            f"---\nlicense: {_WORDS[manifest.licence][0].lower()}\nlanguage: [zh, en]\n"
            "tags: [lora, text-to-image, kolors]\n---",
            f"\n# {manifest.name}\n\n{manifest.about}\n\n![](story.png)\n",
            f"- base model 底模: {manifest.model}\n- LoRA: `{manifest.lora}`, strength 强度 {manifest.strength:g}",
            f"- sampling 采样: {said}\n- mean aesthetic score 美学分: {score}\n",
            "| picture 图 | caption | prompt 提示词 | negative 负向 | seed |\n|---|---|---|---|---|",
            *rows,
            "\n`kolors-course bundle --check .` draws every picture again and compares.\n",
            f"## Licence 许可\n\n{_WORDS[manifest.licence][1]} See LICENSE and NOTICE.\n",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def read_manifest(folder: str | Path) -> Manifest:
    """What a bundle says of itself.

    Raises:
        CourseError: there is none, it is damaged, or names files outside the bundle.
    """
    path = Path(folder) / MANIFEST
    text = read_text(path, 2**20, "the folder of a bundle, which kolors-course bundle wrote")
    manifest = read_as(Manifest, parse_json(text, str(path)), str(path), "write the bundle again")
    named = [manifest.lora, *manifest.files, *(picture.file for picture in manifest.pictures)]
    for name in named:
        if not _FILE.fullmatch(name) or ".." in name:
            raise CourseError(f"{path} names the file '{brief(name)}', which is not inside the bundle")
    if manifest.licence not in _WORDS:
        raise CourseError(f"{path}: licence '{brief(manifest.licence)}' is not one of {', '.join(_WORDS)}")
    return manifest


def bundle_faults(folder: str | Path, manifest: Manifest) -> list[str]:
    """What the rules miss in a bundle, and which files are not what it says; each fault is one line."""
    folder, faults = Path(folder), []
    if not _NAME.fullmatch(manifest.name):
        faults.append(f"the name '{manifest.name}' is not by the rule 队伍名称-可图Kolors训练-xxxxxx")
    if manifest.lora != f"{manifest.name}.safetensors":
        faults.append(f"the LoRA '{manifest.lora}' does not bear the bundle's name")
    if len(manifest.pictures) < MIN_PICTURES:
        faults.append(f"{len(manifest.pictures)} pictures; at least {MIN_PICTURES} are handed in")
    if not manifest.about.strip():
        faults.append("the description is empty")
    needed = {LICENCE, NOTICE, CARD, manifest.lora, *(picture.file for picture in manifest.pictures)}
    faults += [f"{name} is not on the list of files" for name in sorted(needed - set(manifest.files))]
    for name, digest in manifest.files.items():
        if not (folder / name).is_file():
            faults.append(f"{name} is missing")
        elif _digest(folder / name) != digest:
            faults.append(f"{name} has been changed since the bundle was written")
    present = set(files_of(folder)) - {MANIFEST} if folder.is_dir() else set()
    faults += [f"{name} is not on the list of files" for name in sorted(present - set(manifest.files))]
    return [on_one_line(fault) for fault in faults]


def bundle_sampling(manifest: Manifest) -> "Sampling":
    """How the pictures of a bundle were drawn.

    Raises:
        CourseError: settings that there are not.
    """
    from kolors_course.kolors import Sampling
    from kolors_course.kolors.settings import check_said

    said = dict(manifest.sampling)
    size = said.pop("size", None)
    sides = size if isinstance(size, list | tuple) else ()
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
        raise CourseError(f"{MANIFEST}: size must be two numbers up to {MAX_SIDE}, not {brief(size)}")
    return Sampling(**check_said(said, MANIFEST), size=(sides[0], sides[1]))


def drawn_differently(model: "KolorsModel", folder: str | Path, manifest: Manifest) -> list[str]:
    """Draw every picture again with the model, which has the bundle's LoRA on, and say which differ.

    Raises:
        CourseError: a picture cannot be read, or see `kolors_course.kolors.generate`.
    """
    from kolors_course.kolors import generate

    sampling, pictures = bundle_sampling(manifest), manifest.pictures
    prompts, seeds = [each.prompt for each in pictures], [each.seed for each in pictures]
    drawn = generate(model, prompts, seeds, sampling, negatives=[each.negative for each in pictures])
    faults = []
    for entry, again in zip(pictures, drawn, strict=True):
        kept = _open(Path(folder) / entry.file)
        if kept.size != again.size:
            faults.append(
                f"{entry.file} has another size, {kept.size}, than what is drawn again, {again.size}"
            )
            continue
        difference = float(np.abs(np.asarray(kept, np.int16) - np.asarray(again, np.int16)).mean())
        if difference > TOLERANCE:
            faults.append(
                f"{entry.file} differs by {difference:.1f} of 255 on the average from what is drawn again"
            )
    return faults


def _open(path: Path) -> Image.Image:
    from kolors_course.dataset.pixels import open_picture

    return open_picture(path).convert("RGB")
