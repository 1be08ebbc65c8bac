"""LoRA: the maths, attaching it to a U-Net, its files, and what can be done with such files."""

from kolors_course.lazy import attach_fit

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = attach_fit(__name__, __file__)
