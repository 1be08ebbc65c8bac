"""What a hint can be made from, by name. Nothing heavy is imported, so that the command line can list it at once."""

HINT_KINDS = ("canny", "drawing", "boxes", "hint")
