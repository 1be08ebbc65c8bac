"""Nodes of the Kolors course for ComfyUI. Link or copy this folder into ComfyUI/custom_nodes/ and restart ComfyUI."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("kolors_course") is None:
    # A link leads back to the checkout; a copy needs the library installed.
    checkout = Path(__file__).resolve().parents[3]
    if not (checkout / "kolors_course" / "kolors").is_dir():
        raise ImportError(
            "the library kolors_course is not installed for ComfyUI's Python: run `python -m pip install PATH_OF_THE_"
            "COURSE` with that Python, or replace this copy by a link to kolors_course/comfyui/nodes"
        )
    sys.path.append(str(checkout))

from comfy_api.v0_0_2 import ComfyExtension, io

from kolors_course.platform.device import limit_threads

from .load import KolorsCourseLoadLora, KolorsCourseLoadModel, KolorsCourseLoadModelFiles
from .picture import KolorsCourseDecode, KolorsCourseEncodeImage
from .sample import KolorsCoursePrompt, KolorsCourseSampler
from .story import KolorsCourseStoryboard

WEB_DIRECTORY = "./web"  # help pages

NODES: list[type[io.ComfyNode]] = [
    KolorsCourseLoadModel,
    KolorsCourseLoadModelFiles,
    KolorsCourseLoadLora,
    KolorsCoursePrompt,
    KolorsCourseSampler,
    KolorsCourseDecode,
    KolorsCourseEncodeImage,
    KolorsCourseStoryboard,
]


class KolorsCourseExtension(ComfyExtension):
    """What ComfyUI asks for the list of nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> ComfyExtension:
    limit_threads()  # a container has fewer cores than torch counts; drawing is then many times slower
    return KolorsCourseExtension()
