"""Draw a storyboard (YAML) as a page of captioned pictures, in a LoRA's style and beside the base model's row.

kolors-course story data/stories/moon_rabbit.yaml --lora data/loras/pixel.safetensors -o outputs/story
kolors-course story data/stories/little_ghost.yaml --lora data/loras/pixel.safetensors --layout comic
kolors-course story --request zh --topic 一只小企鹅      # a text to paste into a language model
kolors-course story --check answer.json                # what its answer gets wrong, a line for each fault

The storyboard is a YAML (or .json) file in UTF-8, of 1 to 16 panels:

    title_zh: 小兔找月亮                    # both titles stand on the page; one language is enough
    title_en: Rabbit Looks for the Moon
    seed: 8                                 # may be left out: 0; panel 1 has this seed, panel 2 the next one
    negative: 狗, a dog                     # may be left out: what every picture keeps away from
    characters:                             # may be left out: the character sheet
      - {subject: rabbit, name: 小白 Snow, look: small and curious}
    panels:
      - prompt: 夜晚房间里的一只兔子        # what the model reads, in Chinese or English
        caption_zh: 夜里，小兔想摸月亮。    # what stands under the picture
        caption_en: Rabbit dreams of the moon.
        say_zh: 真圆啊！                    # may be left out: a speech bubble; say_en likewise
      - prompt: a rabbit and a dog on the grass
        caption_zh: 天亮了。
        caption_en: In the morning.
        seed: 21                            # may be left out: a seed of its own
        negative: night                     # may be left out: instead of the story's; '' for none
        scene: {subjects: [rabbit, dog], place: meadow, time: day}   # may be left out: facts for measuring

In prompts and negatives (word:1.3) weighs a word and [cat:dog:0.4] changes on the way, as for generate.
A text with ': ' or '#' in it stands in quotes. A scene has one or two subjects of data/art/subjects.csv, place, time
(but for place space), and for one subject also size and position; it changes no picture.
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import size
from kolors_course.cli.flags.outputs import output_folder
from kolors_course.story.choices import LAYOUTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("storyboard", type=Path, nargs="?", help="YAML or JSON file with titles and panels")
    parser.add_argument(
        "--request", choices=("zh", "en"), help="print a text that asks a language model for a storyboard"
    )
    parser.add_argument("--topic", default="", metavar="TEXT", help="what the requested story is about")
    parser.add_argument(
        "--check", type=Path, metavar="ANSWER", help="say what a language model's answer gets wrong"
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="grid",
        help="grid, beside the base model's row; comic with speech bubbles; scroll of pictures with captions below; "
        "film, an animated WebP; book, a PDF (default %(default)s)",
    )
    parser.add_argument(
        "-o", "--output", type=output_folder, default="outputs/story", help="default %(default)s"
    )
    parser.add_argument("--size", type=size, metavar="WxH", help="panel size (default: the model's own)")
    parser.add_argument(
        "--negative",
        default="",
        metavar="TEXT",
        help="what to keep away from, instead of the storyboard's own; a panel's own still wins",
    )
    shared.add_sampling(parser)
    shared.add_lora_files(parser)
    shared.add_model(parser)
