"""What the base model draws while it is trained."""

from dataclasses import replace

from diffusers.utils import make_image_grid
from PIL import Image

from kolors_course.kolors import KolorsModel, generate

SAMPLE_PROMPTS = (
    "a rabbit on a snowy field at night",
    "夜晚雪地上的一只兔子",
    "a big elephant on the grass in the daytime, on the left",
    "白天草地上的一头大大的大象，在左边",
    "a car and a house in the city at sunset",
    "黄昏城市里的一辆汽车和一座房子",
    "a rocket in outer space",
    "太空中的一枚火箭",
    "a small penguin on the beach in the daytime, on the right",
    "白天沙滩上的一只小小的企鹅，在右边",
    "a cat in a room in the daytime",
    "白天房间里的一只猫",
    "a sailboat on the sea at sunset",
    "黄昏海面上的一艘帆船",
    "dinosaur, desert, night",
    "恐龙，森林，白天",
    "a rabbit on a snowy field at night, line art style",
    "a rabbit on a snowy field at night, woodcut style",
    "蓝图风格，白天沙滩上的一只小小的企鹅，在右边",
    "霓虹风格，黄昏城市里的一辆汽车和一座房子",
    "an elephant on the grass in the daytime, line art style",
    "木刻风格，白天草地上的一头大象",
    "a rocket in outer space, blueprint style",
    "夜晚森林里的一只猫头鹰，霓虹风格",
)


def sample_sheet(model: KolorsModel, prompts: tuple[str, ...] = SAMPLE_PROMPTS) -> Image.Image:
    """The fixed prompts with fixed seeds, eight in a row."""
    pictures = generate(model, prompts, range(len(prompts)), replace(model.sampling, batch_size=16))
    return make_image_grid(pictures, len(pictures) // 8, 8)
