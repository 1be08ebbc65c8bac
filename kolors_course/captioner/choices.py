"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

CAPTION_LANGUAGES = ("zh", "en")
CAPTION_LENGTHS = ("label", "sentence", "detailed")
METADATA_FORMATS = ("csv", "jsonl")
