"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

# The kinds of adapter: what `lora.kinds.KINDS` has, by name.
KIND_NAMES = ("lora", "lokr", "loha")
# Layouts of files that can be written; see `lora.layouts`.
WRITABLE = ("diffusers", "kohya", "diffsynth")
# How the factor A starts; see `LoraSettings`.
INITIALISATIONS = ("gaussian", "kaiming")

ATTENTION_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
# Short names of lists of target modules. The second is every linear layer of the transformers, as kohya adapts.
# The third is what `demo` trains: Kolors-mini draws fine detail in its convolutions, above the levels that have
# attention, and a style needs them.
TARGETS = {
    "attention": ATTENTION_TARGETS,
    "attention+feed-forward": (*ATTENTION_TARGETS, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
    "attention+feed-forward+convolutions": (
        *ATTENTION_TARGETS,
        "ff.net.0.proj",
        "ff.net.2",
        "conv1",
        "conv2",
        "conv_shortcut",
        "conv_in",
        "conv_out",
    ),
}
