"""One picture after another from one model, while the same model is used elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from kolors_course.diffusion import SamplerState
from kolors_course.kolors import (
    KolorsModel,
    Sampling,
    decode_latents,
    draw_latents,
    preview_picture,
)
from kolors_course.kolors.sampling import check_drawing
from kolors_course.kolors.stages import encode_stages
from kolors_course.kolors.words import unknown_note
from kolors_course.lora import load_lora, set_lora_strengths, share_weights
from kolors_course.lora.adapter import loaded_adapters
from kolors_course.lora.triggers import trigger_words
from kolors_course.lora.wishes import with_wishes


@dataclass(frozen=True)
class PictureRequest:
    """What one picture depends on, besides the model.

    Attributes:
        strengths: of the LoRAs, one for each; 1 is the trained strength.
    """

    prompt: str
    seed: int
    guidance_scale: float
    strengths: tuple[float, ...] = ()


class LiveDrawing:
    """Draws pictures of a model beside whatever else draws with it, in any thread.

    It has networks of its own that share the model's weights, see `share_weights`. So the LoRAs that it puts on and
    takes off never show in pictures that others draw, nor theirs in its own: it draws with those that were on the
    model when it was made, and with the files that it was given. Not for two threads at once; nor may the model's
    weights be changed meanwhile, by merging or by training them.

    At strength 0 of all LoRAs, the picture is the base model's, to the bit.
    """

    def __init__(
        self, model: KolorsModel, loras: Sequence[str | Path] = (), sampling: Sampling | None = None
    ):
        """Read the LoRAs.

        Args:
            sampling: how model and LoRAs want it if None.

        Raises:
            CourseError: a LoRA cannot be read or does not fit, see `load_lora`; a picture does not fit into
                memory.
        """
        self.sampling = sampling or with_wishes(model.sampling, loras)
        check_drawing(model, self.sampling, 1)
        self._plain = _beside(model)
        self._styled = _beside(model) if loras else self._plain
        parts = {"text_encoder": self._styled.text_encoder}
        self._adapters = [load_lora(self._styled.unet, path, **parts).adapter_name for path in loras]
        self._known = [word for path in loras for word in trigger_words(path)]

    def unknown_words(self, request: PictureRequest) -> str:
        """One line about the words that neither Kolors-mini nor a LoRA here knows, or ""; see `unknown_note`."""
        return unknown_note(self._plain, [request.prompt], self._known)

    @torch.no_grad()
    def draw(
        self, request: PictureRequest, watch: Callable[[SamplerState], None] | None = None
    ) -> Image.Image:
        """The picture that `generate` draws.

        Args:
            watch: called with every state; what it raises stops the drawing.

        Raises:
            CourseError: a prompt, seed, guidance or strength that cannot be drawn.
        """
        model = self._with_loras(request.strengths)
        sampling = replace(self.sampling, guidance_scale=request.guidance_scale)
        prompt, negative = (
            encode_stages(model.tokenizer, model.text_encoder, [text])
            for text in (request.prompt, sampling.negative_prompt)
        )
        latents = draw_latents(model, prompt, negative, [request.seed], sampling, watch=watch)
        return decode_latents(model, latents)[0]

    def guess(self, state: SamplerState) -> Image.Image:
        """What the model takes `state` for, see `preview_picture`."""
        return preview_picture(self._plain, state.pred_original_sample[0])

    def _with_loras(self, strengths: Sequence[float]) -> KolorsModel:
        if not any(strengths):
            return self._plain
        wanted = dict(zip(self._adapters, strengths, strict=True))
        for module in (self._styled.unet, self._styled.text_encoder):
            loaded = loaded_adapters(module)
            set_lora_strengths(module, {name: s for name, s in wanted.items() if name in loaded})
        return self._styled


def _beside(model: KolorsModel) -> KolorsModel:
    """`model` with networks of its own on the same weights: drawing sets attributes of the text encoder, too."""
    for part in ("unet", "vae", "text_encoder"):
        model.fetch(part)
    return replace(model, unet=share_weights(model.unet), text_encoder=share_weights(model.text_encoder))
