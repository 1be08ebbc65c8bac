"""Nodes that read a prompt and draw."""

from comfy_api.v0_0_2 import io

from kolors_course.comfyui.wires import PromptPair, StyledModel, encode_pair, from_latent, to_latent
from kolors_course.kolors import draw_latents
from kolors_course.prompting import texts_of

from .inputs import (
    CATEGORY,
    KolorsPromptWire,
    complaint,
    model_input,
    sampling_inputs,
    sampling_with,
    seed_input,
    size_inputs,
)
from .report import show_text, watcher


class KolorsCoursePrompt(io.ComfyNode):
    """What to draw and what to keep away from, in Chinese or English; (word:1.3) counts more."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KolorsCoursePrompt",
            display_name="Kolors Prompt",
            category=CATEGORY,
            description=KolorsCoursePrompt.__doc__,
            inputs=[
                model_input(),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="夜晚雪地上的一只兔子",
                    placeholder="提示词 · prompt",
                ),
                io.String.Input(
                    "negative_prompt", multiline=True, default="", placeholder="反向提示词 · negative prompt"
                ),
            ],
            outputs=[KolorsPromptWire.Output("kolors_prompt", display_name="prompt")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, prompt: str | None, negative_prompt: str | None) -> bool | str:
        faults = (complaint(texts_of, text) for text in (prompt, negative_prompt))
        return next((fault for fault in faults if fault is not True), True)

    @classmethod
    def execute(cls, model: StyledModel, prompt: str, negative_prompt: str) -> io.NodeOutput:
        if note := model.unknown_words([prompt]):
            show_text(cls.hidden.unique_id, note)
        return io.NodeOutput(encode_pair(model.model, prompt, negative_prompt))


class KolorsCourseSampler(io.ComfyNode):
    """From noise, or from a picture with noise on it, to latents that match the prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KolorsCourseSampler",
            display_name="Kolors Sampler",
            category=CATEGORY,
            description=KolorsCourseSampler.__doc__,
            inputs=[
                model_input(),
                KolorsPromptWire.Input("prompt"),
                seed_input(),
                *sampling_inputs(),
                *size_inputs(),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=64,
                    tooltip="Pictures to draw, with seeds counting up. A picture does not depend on its neighbours.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="With a latent: how much of it is drawn anew. 1 draws everything.",
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="A picture to start from; width and height are then its own.",
                ),
            ],
            outputs=[io.Latent.Output("samples", display_name="latent")],
        )

    @classmethod
    def execute(
        cls,
        model: StyledModel,
        prompt: PromptPair,
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        width: int,
        height: int,
        batch_size: int,
        denoise: float,
        latent: dict | None = None,
    ) -> io.NodeOutput:
        kolors = model.model
        scaling_factor = kolors.vae.config.scaling_factor
        original = None
        if latent is not None:
            original = (from_latent(kolors, latent) * scaling_factor).repeat(batch_size, 1, 1, 1)
            batch_size = len(original)
        sampling = sampling_with(
            kolors,
            width,
            height,
            steps=steps,
            guidance_scale=guidance_scale,
            sampler=sampler,
            spacing=spacing,
            denoise=denoise,
        )
        latents = draw_latents(
            kolors,
            prompt.rows_for(kolors, batch_size),
            prompt.negative,
            range(seed, seed + batch_size),
            sampling,
            original,
            watcher(kolors, sampling.steps - sampling.first_step),
        )
        return io.NodeOutput(to_latent(latents / scaling_factor))
