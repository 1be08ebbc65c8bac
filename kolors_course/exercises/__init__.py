"""The notebooks' exercises: each check explains the likely mistake. A lesson's own are in a module of its name."""

import lazy_loader

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
