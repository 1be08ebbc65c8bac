"""Nodes between pictures and latents."""

from comfy_api.v0_0_2 import io
from torch import Tensor

from kolors_course.comfyui.wires import (
    StyledModel,
    from_latent,
    image_to_pictures,
    pictures_to_image,
    to_latent,
)
from kolors_course.dataset.pixels import cover_picture
from kolors_course.kolors import vae_decode, vae_encode
from kolors_course.kolors.sampling import check_size

from .inputs import CATEGORY, model_input, sampling_with, size_inputs


class KolorsCourseDecode(io.ComfyNode):
    """Latents to pictures, with the model's own VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KolorsCourseDecode",
            display_name="Kolors Decode",
            category=CATEGORY,
            description=KolorsCourseDecode.__doc__,
            inputs=[model_input(), io.Latent.Input("latent")],
            outputs=[io.Image.Output("image", display_name="image")],
        )

    @classmethod
    def execute(cls, model: StyledModel, latent: dict) -> io.NodeOutput:
        pictures = vae_decode(model.model, from_latent(model.model, latent))
        return io.NodeOutput(pictures_to_image(pictures))


class KolorsCourseEncodeImage(io.ComfyNode):
    """Pictures to latents, scaled to cover the size wanted and cropped in the middle."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KolorsCourseEncodeImage",
            display_name="Kolors Encode Image",
            category=CATEGORY,
            description=KolorsCourseEncodeImage.__doc__,
            inputs=[model_input(), io.Image.Input("image"), *size_inputs()],
            outputs=[io.Latent.Output("latent", display_name="latent")],
        )

    @classmethod
    def execute(cls, model: StyledModel, image: Tensor, width: int, height: int) -> io.NodeOutput:
        kolors = model.model
        size = check_size(kolors, sampling_with(kolors, width, height))
        pictures = [cover_picture(picture, *size) for picture in image_to_pictures(image)]
        return io.NodeOutput(to_latent(vae_encode(kolors, pictures)))
