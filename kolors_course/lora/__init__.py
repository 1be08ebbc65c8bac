"""LoRA: the maths, attaching it to a U-Net, its files, and what can be done with such files."""

import lazy_loader

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
