"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

# Every look a scene can have, English name -> Chinese.
STYLE_ZH = {
    "colour": "彩色",
    "line-art": "线稿",
    "paper-cut": "剪纸",
    "blueprint": "蓝图",
    "ink": "水墨",
    "neon": "霓虹",
    "pixel": "像素",
    "woodcut": "木刻",
}
STYLES = tuple(STYLE_ZH)
BASE_STYLE = "colour"
# Kolors-mini learns these by name; the others are kept from it, for LoRAs to bring.
BASE_MODEL_STYLES = ("line-art", "woodcut", "blueprint", "neon")
LORA_STYLES = tuple(style for style in STYLES if style not in (BASE_STYLE, *BASE_MODEL_STYLES))
