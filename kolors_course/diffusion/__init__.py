"""Diffusion: the noise schedule, the samplers that walk it backwards, and guidance.

Samplers are generators that yield every state on the way from noise to picture.
"""

from kolors_course.lazy import attach_fit

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = attach_fit(__name__, __file__)
