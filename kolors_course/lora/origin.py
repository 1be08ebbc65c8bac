"""Where a LoRA file comes from: the model it was made for, the program that wrote it, and what it says of itself.

Such entries are the author's: title, licence, trigger words. They stay in every file that is made of it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from kolors_course.errors import CourseError, brief

# A word in what files say of their base model -> the family, in the order of looking.
_FAMILIES = {
    r"kolors": "Kolors",
    r"(?<![a-z])sd[-_]?xl|stable-diffusion-xl|pony|illustrious|noobai": "SDXL",
    r"flux": "FLUX",
    r"(?<![a-z])sd[-_]?3|stable-diffusion-(v?3|3)": "Stable Diffusion 3",
    r"(?<![a-z])sd[-_]?v?2|stable-diffusion-v?2": "Stable Diffusion 2",
    r"(?<![a-z])sd[-_]?v?1|stable-diffusion-v?1": "Stable Diffusion 1.5",
    r"hunyuan": "Hunyuan",
    r"lumina": "Lumina",
    r"qwen": "Qwen-Image",
    r"wan_?2": "Wan",
    r"cascade|wuerstchen": "Stable Cascade",
    r"pixart": "PixArt",
}
# Where files say it, the surest first.
_BASE_ENTRIES = (
    "modelspec.architecture",
    "ss_base_model_version",
    "base_model_name_or_path",
    "base_model",
    "ss_sd_model_name",
)
# Programs that multiply alpha into the tensors or train at alpha = rank, and write none.
_FOLDING = {
    "OneTrainer": lambda metadata: any(key.startswith("ot_") for key in metadata),
    "ai-toolkit": lambda metadata: "ai-toolkit" in metadata.get("software", ""),
}
# About the tensors as they lay in another file, which is not true of them in a new one.
_FORM = (
    *("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256", "modelspec.sai_model_spec"),
    *(
        "modelspec.implementation",
        "ss_network_module",
        "ss_network_dim",
        "ss_network_alpha",
        "ss_network_args",
    ),
)
LISTED = 16  # different values of one entry that a joined file names


def family_of(text: str) -> str:
    """The family of models that a name belongs to; "" where it tells none."""
    return next((family for mark, family in _FAMILIES.items() if re.search(mark, text.lower())), "")


def is_foreign(family: str) -> bool:
    """Whether a file that says `family` (see `made_for`) was made for other models than Kolors."""
    return family not in ("", "Kolors")


def made_for(metadata: Mapping[str, str]) -> str:
    """The family of models that a file says it was made for; "" where it does not."""
    said = (metadata.get(key) for key in _BASE_ENTRIES)
    return next((family for text in said if isinstance(text, str) and (family := family_of(text))), "")


def folding_exporter(metadata: Mapping[str, str]) -> str:
    """The program that wrote the file, if it is one whose files lack alpha because their scale is 1; else ""."""
    return next((name for name, is_it in _FOLDING.items() if is_it(metadata)), "")


@contextmanager
def telling_origin(metadata: Mapping[str, str]) -> Iterator[None]:
    """End the message of any error inside with the models that the file says it was made for, if not for Kolors."""
    try:
        yield
    except CourseError as error:
        if not is_foreign(family := made_for(metadata)):
            raise
        raise type(error)(f"{error}; it says that it was made for {family}") from error


def lasting_entries(metadata: Mapping[str, str]) -> dict[str, str]:
    """What stays true of a file's metadata after it was converted."""
    return {key: value for key, value in metadata.items() if key not in _FORM}


def join_entries(files: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The entries of several files as those of one made of them.

    Values that differ are joined by " + ", but for JSON, which that would damage: of it nothing is kept here.
    """
    values: dict[str, dict[str, None]] = {}
    for entries in files:
        for key, value in entries.items():
            values.setdefault(key, {})[value] = None
    return {
        key: " + ".join(list(found)[:LISTED])
        for key, found in values.items()
        if len(found) == 1 or not any(map(_is_json, found))
    }


def base_name(course: Mapping[str, object], metadata: Mapping[str, str]) -> str:
    """The model that a file was trained on, as far as it says."""
    named = course.get("base_model")
    if isinstance(named, str) and named:
        return brief(named, 200)
    return made_for(metadata) or "an unknown base model"


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")
