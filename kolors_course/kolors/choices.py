"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

QUANTIZATIONS = ("nf4", "int8")
