"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

# The kinds of adapter; see `lora.kinds`.
KINDS = ("lora", "lokr", "loha")
# Layouts of files that can be written; see `lora.layouts`.
WRITABLE = ("diffusers", "kohya", "diffsynth")
# How the factor A starts; see `LoraSettings`.
INITIALISATIONS = ("gaussian", "kaiming")

ATTENTION_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
# Short names of lists of target modules; the second is every linear layer of the transformers, as kohya adapts.
TARGETS = {
    "attention": ATTENTION_TARGETS,
    "attention+feed-forward": (*ATTENTION_TARGETS, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
}
