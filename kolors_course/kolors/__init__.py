"""Kolors itself: loading it (mini or full), reading prompts, drawing pictures."""

from kolors_course.lazy import attach_fit

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = attach_fit(__name__, __file__)
