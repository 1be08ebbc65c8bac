"""What a node tells while it works: progress, previews, a line of text; and stopping when the user wants it."""

from collections.abc import Callable
from time import monotonic

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from latent_preview import MAX_PREVIEW_RESOLUTION
from server import PromptServer

from kolors_course.diffusion import SamplerState
from kolors_course.kolors import KolorsModel, preview_picture

SECONDS_BETWEEN_PREVIEWS = 0.25


def show_text(node_id: str, text: str) -> None:
    """Show `text` in the node, if there is a browser to show it."""
    if hasattr(PromptServer, "instance"):
        PromptServer.instance.send_progress_text(text, node_id)


def watcher(model: KolorsModel, steps: int) -> Callable[[SamplerState], None]:
    """What is called with every state of a drawing of `steps` steps in all.

    The Stop button takes effect here, by ComfyUI's own exception.
    """
    bar, last_preview = ProgressBar(steps), 0.0

    def watch(state: SamplerState) -> None:
        nonlocal last_preview
        throw_exception_if_processing_interrupted()
        if state.sigma == 0:  # the clean result, which took no step
            return
        preview, now = None, monotonic()
        if now - last_preview >= SECONDS_BETWEEN_PREVIEWS:
            last_preview = now
            picture = preview_picture(model, state.pred_original_sample[0])
            preview = ("JPEG", picture, MAX_PREVIEW_RESOLUTION)
        bar.update_absolute(bar.current + 1, preview=preview)

    return watch
