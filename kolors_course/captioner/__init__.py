"""Pictures to words: the course's small captioner, a large vision-language model behind the same interface, and how
captions are judged by the facts that they tell."""

import lazy_loader

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
