"""The node that draws a story."""

import math

from comfy_api.v0_0_2 import io

from kolors_course.comfyui.wires import StyledModel, pictures_to_image
from kolors_course.story import draw_story, lay_out_page, parse_storyboard, story_page

from .inputs import CATEGORY, complaint, model_input, sampling_inputs, sampling_with, size_inputs
from .report import show_text, watcher

PLACEHOLDER = """title_zh: …
title_en: …
panels:
  - prompt: …
    caption_zh: …
    caption_en: …"""


class KolorsCourseStoryboard(io.ComfyNode):
    """A storyboard to its panels, and to the page that shows them with captions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KolorsCourseStoryboard",
            display_name="Kolors Storyboard",
            category=CATEGORY,
            description="The text of a storyboard (YAML) to its panels, and to the page that shows them.",
            inputs=[
                model_input(),
                io.String.Input(
                    "storyboard",
                    multiline=True,
                    default="",
                    placeholder=PLACEHOLDER,
                    tooltip="The text of a storyboard (YAML), such as data/stories/moon_rabbit.yaml.",
                ),
                io.String.Input(
                    "negative_prompt",
                    default="",
                    tooltip="What every panel keeps away from that has no negative of its own; stands instead of the "
                    "storyboard's.",
                ),
                *sampling_inputs(),
                *size_inputs(),
                io.Boolean.Input(
                    "compare",
                    default=True,
                    tooltip="With a LoRA: show small below the story what the model draws without it.",
                ),
            ],
            outputs=[
                io.Image.Output("page", display_name="page"),
                io.Image.Output("panels", display_name="panels"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, storyboard: str | None) -> bool | str:
        return complaint(lambda text: parse_storyboard(text, "storyboard"), storyboard)

    @classmethod
    def execute(
        cls,
        model: StyledModel,
        storyboard: str,
        negative_prompt: str,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        width: int,
        height: int,
        compare: bool,
    ) -> io.NodeOutput:
        story = parse_storyboard(storyboard, "storyboard")
        footer = " + ".join(f"{path.name} × {strength:g}" for path, strength in model.loras)
        lay_out_page(story, footer=footer)  # finds characters that no font has before anything is drawn
        if note := model.unknown_words(panel.prompt for panel in story.panels):
            show_text(cls.hidden.unique_id, note)
        sampling = sampling_with(
            model.model,
            width,
            height,
            negative_prompt=negative_prompt,
            steps=steps,
            guidance_scale=guidance_scale,
            sampler=sampler,
            spacing=spacing,
        )
        rows = [model.model, model.base] if model.loras and compare else [model.model]
        batches = math.ceil(len(story.panels) / sampling.batch_size) * len(rows)
        watch = watcher(model.model, sampling.steps * batches)
        panels, *base = [draw_story(kolors, story, sampling, watch=watch) for kolors in rows]
        page = story_page(story, panels, *base, footer=footer)
        return io.NodeOutput(pictures_to_image([page]), pictures_to_image(panels))
