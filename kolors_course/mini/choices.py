"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

# In their order; how large batches are and how many steps they take: see `recipe`.
MINI_STAGES = ("tokenizer", "pictures", "vae", "probe", "base")
# These go on from a finished model.
FURTHER_STAGES = ("decoder", "foreign", "control")
MINI_RECIPES = ("cpu", "gpu", "gpu2")
LATENT_CHANNELS = (4, 8, 16)
