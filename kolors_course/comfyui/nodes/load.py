"""Nodes that load: a model, its files one by one, a LoRA."""

from pathlib import Path

from comfy_api.v0_0_2 import io

from kolors_course.comfyui.files import look_up
from kolors_course.comfyui.wires import StyledModel
from kolors_course.kolors import diffusers_layout, three_paths
from kolors_course.platform.choices import PROFILES

from . import places
from .inputs import CATEGORY, KolorsModelWire, complaint, model_input
from .report import show_text


def precision_input() -> io.Input:
    return io.Combo.Input(
        "precision",
        options=list(places.PRECISIONS),
        default="auto",
        tooltip="auto: float32 on a CPU and for Kolors-mini, bfloat16 for full Kolors.",
    )


class KolorsCourseLoadModel(io.ComfyNode):
    """A model by the name of its profile or of its folder in models/diffusers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KolorsCourseLoadModel",
            display_name="Load Kolors",
            category=CATEGORY,
            description="Kolors-mini, full Kolors, or another model from models/diffusers.",
            inputs=[
                io.Combo.Input("model_name", options=list(places.models()), default="mini"),
                precision_input(),
            ],
            outputs=[KolorsModelWire.Output("model", display_name="model")],
        )

    @classmethod
    def validate_inputs(cls, model_name: str | None) -> bool | str:
        return complaint(lambda name: diffusers_layout(places.find_model(name)), model_name)

    @classmethod
    def fingerprint_inputs(cls, model_name: str, **_: object) -> int:
        return places.newest(places.find_model(model_name))

    @classmethod
    def execute(cls, model_name: str, precision: str) -> io.NodeOutput:
        profile = model_name if model_name in PROFILES else None
        model = places.load(places.find_model(model_name), precision, profile)
        return io.NodeOutput(StyledModel(model, model))


class KolorsCourseLoadModelFiles(io.ComfyNode):
    """A model from three places: a U-Net file, a text-encoder folder, a VAE file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KolorsCourseLoadModelFiles",
            display_name="Load Kolors (three files)",
            category=CATEGORY,
            description="The layout of the camp's trainer. Beside each weight file lies its config.json.",
            inputs=[
                io.Combo.Input("unet_name", options=list(places.files_of("diffusion_models"))),
                io.Combo.Input("text_encoder_name", options=list(places.text_encoders())),
                io.Combo.Input("vae_name", options=list(places.files_of("vae"))),
                precision_input(),
            ],
            outputs=[KolorsModelWire.Output("model", display_name="model")],
        )

    @classmethod
    def fingerprint_inputs(
        cls, unet_name: str, text_encoder_name: str, vae_name: str, **_: object
    ) -> list[int]:
        return [places.newest(path) for path in cls._paths(unet_name, text_encoder_name, vae_name)]

    @classmethod
    def execute(cls, unet_name: str, text_encoder_name: str, vae_name: str, precision: str) -> io.NodeOutput:
        paths = three_paths(*cls._paths(unet_name, text_encoder_name, vae_name))
        model = places.load(paths, precision)
        return io.NodeOutput(StyledModel(model, model))

    @staticmethod
    def _paths(unet_name: str, text_encoder_name: str, vae_name: str) -> tuple[Path, Path, Path]:
        models = "ComfyUI/models"
        return (
            look_up(unet_name, places.files_of("diffusion_models"), "U-Net", f"{models}/diffusion_models"),
            look_up(text_encoder_name, places.text_encoders(), "text encoder", f"{models}/text_encoders"),
            look_up(vae_name, places.files_of("vae"), "VAE", f"{models}/vae"),
        )


class KolorsCourseLoadLora(io.ComfyNode):
    """A model with a LoRA besides those it has; the model that came in stays as it is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KolorsCourseLoadLora",
            display_name="Load Kolors LoRA",
            category=CATEGORY,
            description="Reads the files of diffusers, peft, kohya and DiffSynth-Studio. Loads all of it or stops.",
            inputs=[
                model_input(),
                io.Combo.Input("lora_name", options=list(places.loras())),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-4.0,
                    max=4.0,
                    step=0.05,
                    tooltip="1 is the strength it was trained at, 0 none; negative values push away.",
                ),
                io.Float.Input(
                    "alpha",
                    default=0.0,
                    min=0.0,
                    max=1024.0,
                    step=0.5,
                    tooltip="0: what the file says. Files that do not say it, such as the camp's .ckpt, need "
                    "the alpha of their training (the camp used 4).",
                ),
            ],
            outputs=[
                KolorsModelWire.Output("styled_model", display_name="model"),
                io.String.Output("report", display_name="report"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, lora_name: str | None) -> bool | str:
        return complaint(places.find_lora, lora_name)

    @classmethod
    def fingerprint_inputs(cls, lora_name: str, **_: object) -> int:
        return places.newest(places.find_lora(lora_name))

    @classmethod
    def execute(cls, model: StyledModel, lora_name: str, strength: float, alpha: float) -> io.NodeOutput:
        styled, loaded = model.with_lora(places.find_lora(lora_name), strength, alpha or None)
        settings = loaded.settings
        report = (
            f"{lora_name}: {loaded.matched}/{loaded.expected} keys · {loaded.base_model}\n"
            f"rank {settings.rank} · alpha {settings.alpha:g} · strength {loaded.strength:g}"
        )
        show_text(cls.hidden.unique_id, report)
        return io.NodeOutput(styled, report, ui={"text": [report]})
