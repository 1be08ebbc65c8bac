"""Write what a server says of the course's nodes, so that workflows can be converted and checked without one.

    kolors-course comfyui start
    python scripts/build_object_info.py [URL]

Of ComfyUI's own nodes only the few that the workflows use are kept, and of all nodes only what converting and
checking need: names and types of inputs, limits, defaults, choices.
"""

import json
import sys
from typing import Any

from kolors_course.comfyui.client import ComfyClient
from kolors_course.files import atomic_path
from kolors_course.platform.choices import PROFILES
from kolors_course.platform.paths import data_dir

OWN = "KolorsCourse"
OTHERS = ("LoadImage", "PreviewImage", "SaveImage", "VAEDecode", "VAELoader")
SETTINGS = ("default", "min", "max", "options", "forceInput", "control_after_generate", "image_upload")
# Choices that name files: of these only what comes with the course.
FILES = ("lora_name", "unet_name", "text_encoder_name", "vae_name", "image", "model_name")


def shipped(choices: list[str]) -> list[str]:
    there = {path.name for path in (data_dir() / "loras").iterdir()} | {*PROFILES}
    return [choice for choice in choices if choice in there]


def slim(object_info: dict[str, Any]) -> dict[str, Any]:
    """The part of a server's answer that is kept."""
    names = sorted(name for name in object_info if name.startswith(OWN) or name in OTHERS)
    return {name: _slim_node(object_info[name]) for name in names}


def _slim_node(node: dict[str, Any]) -> dict[str, Any]:
    groups = {group: node["input"].get(group) or {} for group in ("required", "optional")}
    inputs = {
        group: {name: _slim_input(name, *entry) for name, entry in entries.items()}
        for group, entries in groups.items()
    }
    kept = {key: node[key] for key in ("output", "display_name", "output_node")}
    return {
        "input": inputs,
        "input_order": {group: list(entries) for group, entries in inputs.items()},
        **kept,
    }


def _slim_input(name: str, kind: Any, settings: dict[str, Any] | None = None) -> list[Any]:
    settings = {key: value for key, value in (settings or {}).items() if key in SETTINGS}
    if name in FILES and isinstance(kind, list):
        kind = shipped(kind)
    if name in FILES and "options" in settings:
        settings["options"] = shipped(settings["options"])
    return [kind, settings]


def main() -> int:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8188"
    path = data_dir() / "workflows" / "object_info.json"
    with atomic_path(path) as temporary:
        answer = slim(ComfyClient(url).get("/object_info"))
        temporary.write_text(json.dumps(answer, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
