"""One HTML page about a model or a LoRA: what it draws rightly, how far it is from the world, and what it copied."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
